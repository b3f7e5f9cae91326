/* An image fetched from where a flow leads, bilinear: `warp` in sampling.py. Included once per variant. */

/* Of a row of an image, a place between four pixels. */
typedef struct Between {
    int64_t start;       /* of the pixel above to the left, from the image's */
    int64_t right, down; /* from there to its neighbours */
} Between;

INLINE Lanes between_lanes(const float *from, Between place, float along, float below) {
    Lanes left = lanes_at(from), right = lanes_at(from + place.right);
    left += below * (lanes_at(from + place.down) - left);
    right += below * (lanes_at(from + place.right + place.down) - right);
    return left + along * (right - left);
}

INLINE float between(const float *from, Between place, float along, float below) {
    float left = from[0], right = from[place.right];
    left += below * (from[place.down] - left);
    right += below * (from[place.right + place.down] - right);
    return left + along * (right - left);
}

static void warp_rows(const void *context, int first, int last, int thread) {
    const Warp *job = context;
    (void)thread;
    int width = job->width, channels = job->channels;
    size_t plane = (size_t)job->height * (size_t)width;
    const Strides *from = &job->from, *to = &job->to;
    float x[CHUNK], y[CHUNK], along[CHUNK], below[CHUNK];
    int32_t column[CHUNK], row[CHUNK];
    Between places[CHUNK];
    memset(x, 0, sizeof x);
    memset(y, 0, sizeof y);
    for (int line = first; line < last; line++)
        for (int start = 0; start < width; start += CHUNK) {
            int some = smaller(CHUNK, width - start);
            const float *flow = job->flow + (size_t)line * (size_t)width + start;
            for (int i = 0; i < some; i++) {
                x[i] = (float)(start + i) + flow[i];
                y[i] = (float)(job->top + line) + flow[plane + (size_t)i];
            }
            for (int i = 0; i < CHUNK; i += LANES) {
                Lanes rest_x, rest_y;
                *(IntLanes *)(column + i) = floor_lanes(inside_linear(lanes_at(x + i), job->image_width), &rest_x);
                *(IntLanes *)(row + i) = floor_lanes(inside_linear(lanes_at(y + i), job->image_height), &rest_y);
                *(Lanes *)(along + i) = rest_x;
                *(Lanes *)(below + i) = rest_y;
            }
            for (int i = 0; i < some; i++)
                places[i] = (Between){row[i] * from->row + column[i] * from->column,
                                      column[i] + 1 < job->image_width ? from->column : 0,
                                      row[i] + 1 < job->image_height ? from->row : 0};
            float *output = job->output + line * to->row + start * to->column;
            if (from->channel == 1 && to->channel == 1)
                for (int i = 0; i < some; i++) {
                    const float *image = job->image + places[i].start;
                    int c = 0;
                    for (; c + LANES <= channels; c += LANES)
                        *(Lanes *)(output + i * to->column + c) =
                            between_lanes(image + c, places[i], along[i], below[i]);
                    for (; c < channels; c++)
                        output[i * to->column + c] = between(image + c, places[i], along[i], below[i]);
                }
            else
                for (int c = 0; c < channels; c++)
                    for (int i = 0; i < some; i++)
                        output[c * to->channel + i * to->column] =
                            between(job->image + c * from->channel + places[i].start, places[i], along[i], below[i]);
        }
}

EXPORT void VARIANT(warp)(const Warp *job, int threads) {
    run_rows(warp_rows, job, 0, job->height, BLOCK, threads);
}

"""The command `videoinr render`: a script rendered in chunks, by processes of one machine or of many.

Nothing here renders a frame: chunks are made by vspipe and ffmpeg, handed out by Dask Distributed, and joined by
ffmpeg. Importing any module of this package imports neither torch nor vapoursynth.
"""

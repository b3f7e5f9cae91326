"""What `videoinr render` is worth: engines compared, speed-up and overhead measured."""

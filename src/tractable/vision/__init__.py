"""Vision: a retina under a bottleneck, and convolutional recurrent graphs held against neurons."""

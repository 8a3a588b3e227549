"""Studies of vision: retina and convolutional recurrent networks."""

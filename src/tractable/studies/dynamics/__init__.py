"""Studies of recurrent dynamics."""

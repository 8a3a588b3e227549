"""Studies of spiking networks."""

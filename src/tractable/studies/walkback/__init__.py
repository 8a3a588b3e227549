"""Studies of learned transition operators."""

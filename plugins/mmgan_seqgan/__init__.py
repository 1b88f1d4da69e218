"""SeqGAN's networks, its sampling and its rollouts; they are not a plugin yet."""

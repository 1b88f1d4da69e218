"""What games of one kind of data have in common: latents, data, samples and scores."""

"""Recognition: files of trained models, and recognisers that label recordings with them."""

"""Examination of corpora before they are used: files, levels, repeated audio, published counts."""

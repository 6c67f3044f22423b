"""Commands of `stoker`, by what they are about."""

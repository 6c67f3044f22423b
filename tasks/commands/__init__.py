"""Commands of `stoker`, by what they are about. What takes time to import is imported inside of them."""

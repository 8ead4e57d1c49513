"""Tables in Kaldi's file formats, read and written without silent loss."""

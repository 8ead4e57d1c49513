"""Tables: what stands on disk in Kaldi's forms, read and written without silent loss."""

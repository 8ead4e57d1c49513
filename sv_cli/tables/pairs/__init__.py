"""Lists of (enroll, test) pairs: trials and scores, read in chunks and joined."""

"""A local server that speaks the service's gRPC: buckets are folders, objects are files.

What it keeps to, and where it differs from the service:

- Every folder of the served directory is a bucket, unless its name begins with a dot; the files
  below are its objects. Names that are not UTF-8 or longer than 1,024 bytes are not there.
- A changed or replaced file is a new generation, and the old one is gone. A change of the inode
  counts as one (chmod, another hard link). Generations survive a restart.
- A stream that is open when its object is replaced or deleted goes on with the old bytes. When the
  file is changed in place, the stream ends with NOT_FOUND: old and new are never mixed.
- Whole-object checksums of files above 64 KiB are computed when GetObject or ReadObject first asks
  for them; listings and BidiReadObject show them from then on. Files above 256 MiB have none,
  unless their writer gave one.
- Objects whose names no file can have, appendable objects that are not finalized, and what clients
  say of their objects are kept in `.gcsmux-emulator` below the served directory.
- Buckets of location type `zone` are hierarchical: their empty folders show in listings that ask
  for folders. There are no versions, no soft delete, no permissions; globs and filters of listings
  are UNIMPLEMENTED.
- It fails when it is told to, and only then: docs/FAULTS.md.
"""

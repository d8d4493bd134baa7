"""A local server that speaks the service's gRPC: buckets are folders, objects are files.

What it keeps to, and where it differs from the service:

- Every folder of the served directory is a bucket, unless its name begins with a dot; the files
  below are its objects. Names that are not UTF-8 or longer than 1,024 bytes are not there.
- A changed or replaced file is a new generation, and the old one is gone. A change of the inode
  counts as one (chmod, another hard link). Generations survive a restart.
- A stream that is open when its object is replaced or deleted goes on with the old bytes. When the
  file is changed in place, or its object is moved, the stream ends with NOT_FOUND: old and new are
  never mixed.
- A range of an appendable object that is not finalized is cut at the end that the object has when
  the range is asked for, also on a stream that was opened before the object grew.
- A read handle that the emulator does not know is ignored, as the service does it on the cloud
  path; one of another object or generation is refused.
- Whole-object checksums of files above 64 KiB are computed when GetObject or ReadObject first asks
  for them; listings and BidiReadObject show them from then on. Files above 256 MiB have none,
  unless their writer gave one.
- Objects whose names no file can have, appendable objects that are not finalized, and what clients
  say of their objects are kept in `.gcsmux-emulator` below the served directory.
- CreateBucket honours location, placement, class and namespace. All other buckets are as
  `--location-type` says: regional and flat, or zonal.
- Hierarchical buckets, and zonal ones always are, have folders: StorageControl makes, lists,
  renames and removes them, and empty ones show in listings that ask for folders. A renamed
  folder's objects keep their generations. The operations that the calls answer are done. A folder
  and an object `f/` and `f` cannot both be made.
- Zonal buckets neither compose nor rewrite objects. UpdateObject changes content type, encoding,
  disposition, language, cache control and custom metadata; other fields are UNIMPLEMENTED.
- There are no versions, no soft delete, no permissions; globs and filters of listings are
  UNIMPLEMENTED.
- It fails when it is told to, and only then: docs/FAULTS.md.
"""

"""The emulator: a local server for the gRPC API of Google Cloud Storage.

Buckets are folders, and objects are files. The rules:

- Every folder in the served folder is a bucket, unless its name begins with a dot. The files below
  this folder are the objects of the bucket. Files whose names are not UTF-8, or longer than 1,024
  bytes, are ignored.
- If a file is changed or replaced, its object gets a new generation, and the old generation no
  longer exists. A change of only the inode has the same effect (chmod, a new hard link).
  Generations survive a restart.
- If an object is replaced or deleted, its open streams continue with the old bytes. If its file is
  changed in place, or the object is moved, its open streams end with NOT_FOUND. No stream mixes old
  and new bytes.
- While an appendable object is not finalized, a requested range is cut at the current end of the
  object. Streams that were opened earlier also use the current end.
- A read handle from another server is ignored. The service does the same on connections without
  DirectPath. A read handle for another object or generation is an error.
- The checksum of an object above 64 KiB is computed when GetObject or ReadObject first needs it.
  After that, listings and BidiReadObject also show the checksum. Objects above 256 MiB have a
  checksum only if their writer sent one.
- The folder `.gcsmux-emulator` in the served folder holds what files cannot hold: objects whose
  names no file can have, appendable objects that are not finalized, and attributes of objects.
- CreateBucket supports location, placement, storage class and namespace. `--location-type` makes
  all other buckets regional and flat, or zonal. All zonal buckets are hierarchical.
- Hierarchical buckets have folders. StorageControl creates, lists, renames and removes them. Empty
  folders appear in listings with `include_folders_as_prefixes`. The objects in a renamed folder
  keep their generations. A long-running operation is already done when its call returns. A folder
  `f/` and an object `f` cannot both exist.
- Objects in zonal buckets cannot be composed or rewritten. UpdateObject supports content type,
  encoding, disposition, language, cache control and custom metadata; other fields are
  UNIMPLEMENTED.
- There are no noncurrent versions, no soft delete and no permissions. Globs and filters of listings
  are UNIMPLEMENTED.
- A fault happens only if a rule asks for it: see docs/FAULTS.md.
"""

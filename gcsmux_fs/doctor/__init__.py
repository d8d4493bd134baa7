"""Examines the way from this machine to the bytes of a bucket, one check after the other.

The modules whose names end with `findings` are sans-IO: facts are arguments, and the result is a
`Finding` with a sentence for the user. The modules whose names end with `facts` or `probes` collect
the facts. `examination` runs all checks in the order of `checklist`, each with a deadline.
"""

cpdef bytes target_of(bytes scheme, bytes host, bytes target, bytes reference)

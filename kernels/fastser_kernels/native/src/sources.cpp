// The digest of the sources that this library was compiled from; `sources.py` computes it, `build_native.py` passes it.
extern "C" __attribute__((visibility("default"))) const char* fastser_sources() { return FASTSER_SOURCES; }

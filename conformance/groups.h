/* The groups. Written by `cargo xtask conformance --rebuild`. */
#define CONFORMANCE_GROUPS \
    GROUP(event)
#define CONFORMANCE_USER_GROUPS \
    

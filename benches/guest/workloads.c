// The three workloads that the interpreter is measured with, against the same source compiled for the host.
//
// Freestanding, no headers. As a guest the file becomes an image whose only import is the routine that `api`
// calls; for the host `native/main.c` includes it and gives that routine itself.

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define NOINLINE __attribute__((noinline))

#ifndef CALL
// The import that stands for any kernel routine of two arguments; the handler is the benchmark's own.
__declspec(dllimport) u32 IofCallDriver(void *DeviceObject, void *Irp);
#define CALL(device, irp) IofCallDriver(device, irp)
#endif

// --- compute: tables, shifts, multiplications and vector moves; hardly a call -------------------------------

#define BUFFER 2048

static u32 crc_table[256];
static u8 source[BUFFER];
static u8 target[BUFFER];

static void build_table(u32 polynomial)
{
    for (u32 i = 0; i < 256; i++) {
        u32 value = i;
        for (int bit = 0; bit < 8; bit++) {
            value = (value >> 1) ^ ((value & 1) ? polynomial : 0);
        }
        crc_table[i] = value;
    }
}

static u32 crc32(const u8 *bytes, u32 length)
{
    u32 crc = ~0u;
    for (u32 i = 0; i < length; i++) {
        crc = (crc >> 8) ^ crc_table[(crc ^ bytes[i]) & 0xff];
    }
    return ~crc;
}

static u64 mix(const u8 *bytes, u32 length, u64 seed)
{
    u64 a = seed, b = seed ^ 0x9e3779b97f4a7c15ull;
    const u64 *words = (const u64 *)bytes;
    for (u32 i = 0; i < length / 8; i += 2) {
        a = (a ^ words[i]) * 0xff51afd7ed558ccdull;
        a = (a << 31) | (a >> 33);
        b = (b + words[i + 1]) * 0xc4ceb9fe1a85ec53ull;
        b ^= b >> 29;
    }
    return a ^ b;
}

// The compiler makes 16-byte moves of these two loops.
static NOINLINE void copy(u8 *restrict to, const u8 *restrict from, u32 length)
{
    for (u32 i = 0; i < length; i++) {
        to[i] = from[i];
    }
}

static NOINLINE void fill(u8 *to, u8 value, u32 length)
{
    for (u32 i = 0; i < length; i++) {
        to[i] = value;
    }
}

static u64 compute(u64 rounds)
{
    u64 sum = 1;
    for (u64 round = 0; round < rounds; round++) {
        build_table(0xedb88320u);
        fill(source, (u8)(round ^ sum), BUFFER);
        source[round % BUFFER] = (u8)sum;
        sum += crc32(source, BUFFER / 4);
        copy(target, source, BUFFER);
        sum = mix(target, BUFFER, sum);
    }
    return sum;
}

// --- pointers: requests that move between queues, by way of small functions ---------------------------------

#define REQUESTS 2048
#define QUEUES 5

typedef struct list_entry {
    struct list_entry *next, *previous;
} list_entry;

// About what an IRP with one stack location is: 0xd0 + 0x48 bytes.
typedef struct request {
    short type;
    unsigned short size;
    u32 flags;
    u64 information;
    list_entry entry;
    u32 status;
    u8 stack_count, location;
    u64 unused[12];
    struct {
        u8 major, minor, flags, control;
        u64 arguments[4];
        void (*completion)(struct request *, u64);
        u64 context;
    } stack;
} request;

static request requests[REQUESTS];
static list_entry queues[QUEUES];

static NOINLINE void initialize_list(list_entry *head)
{
    head->next = head->previous = head;
}

static NOINLINE int is_empty(const list_entry *head)
{
    return head->next == head;
}

static NOINLINE void insert_tail(list_entry *head, list_entry *entry)
{
    list_entry *last = head->previous;
    entry->next = head;
    entry->previous = last;
    last->next = entry;
    head->previous = entry;
}

static NOINLINE list_entry *remove_head(list_entry *head)
{
    list_entry *first = head->next;
    list_entry *next = first->next;
    head->next = next;
    next->previous = head;
    return first;
}

static NOINLINE void remove_entry(list_entry *entry)
{
    entry->previous->next = entry->next;
    entry->next->previous = entry->previous;
}

static NOINLINE void complete(request *r, u64 information)
{
    r->information += information;
    r->status = 0;
    r->stack.completion(r, r->stack.context);
}

static NOINLINE void on_completion(request *r, u64 context)
{
    r->stack.context = context + r->information;
}

static NOINLINE u32 dispatch(request *r)
{
    switch (r->stack.major) {
    case 0:
        r->flags |= 1;
        complete(r, 0);
        return 1;
    case 2:
        r->flags &= ~1u;
        complete(r, 1);
        return 2;
    case 3:
        r->stack.arguments[0] += 8;
        complete(r, r->stack.arguments[0] & 63);
        return 3;
    case 4:
        r->stack.arguments[1] ^= r->information;
        complete(r, 4);
        return 4;
    case 14:
        r->status = (u32)r->stack.arguments[2];
        r->stack.arguments[2] += r->status & 7;
        return 0;
    default:
        r->status = 0xc0000010u;
        return 0;
    }
}

static u64 pointers(u64 rounds)
{
    static const u8 majors[8] = {0, 2, 3, 4, 14, 3, 4, 27};
    for (u32 i = 0; i < QUEUES; i++) {
        initialize_list(&queues[i]);
    }
    for (u32 i = 0; i < REQUESTS; i++) {
        request *r = &requests[i];
        r->type = 6;
        r->size = sizeof(request);
        r->flags = r->status = 0;
        r->information = i;
        r->stack.major = majors[i & 7];
        r->stack.arguments[0] = r->stack.arguments[1] = r->stack.arguments[2] = i;
        r->stack.completion = on_completion;
        r->stack.context = 0;
        insert_tail(&queues[i % QUEUES], &r->entry);
    }
    u64 random = 88172645463325252ull, sum = 0;
    for (u64 round = 0; round < rounds; round++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        list_entry *head = &queues[random % QUEUES];
        list_entry *entry;
        if (random & 0x100) {
            // A request somewhere in the middle of its queue, as cancellation takes it out.
            entry = &requests[(random >> 20) % REQUESTS].entry;
            remove_entry(entry);
        } else {
            if (is_empty(head)) {
                continue;
            }
            entry = remove_head(head);
        }
        request *r = (request *)((u8 *)entry - __builtin_offsetof(request, entry));
        u32 next = dispatch(r);
        r->stack.major = majors[(r->stack.major + next + round) & 7];
        sum = sum * 31 + r->information + r->status;
        insert_tail(&queues[next], entry);
    }
    for (u32 i = 0; i < REQUESTS; i++) {
        sum = sum * 31 + requests[i].stack.context;
    }
    return sum;
}

// --- api: one call of the kernel among forty instructions ---------------------------------------------------

static u64 input[4];
static u64 output;

static u64 api(u64 rounds)
{
    u64 a = 1, b = 2, c = 3;
    input[0] = input[1] = input[2] = input[3] = 0;
    for (u64 round = 0; round < rounds; round++) {
        input[0] = a + round;
        input[1] ^= b;
        input[2] += c >> 3;
        input[3] = (a & 0xff) | (b << 8);
        u32 status = CALL(input, &output);
        a = (a ^ output) * 0x9e3779b97f4a7c15ull;
        a ^= a >> 32;
        b += status + (a & 15);
        b = (b << 7) | (b >> 57);
        c ^= a + b;
        if ((int)status < 0) {
            c += 1;
        }
        if (c & 4) {
            b ^= 0x55;
        }
    }
    return a ^ b ^ c;
}

// The entry point of the image. `which` is the number of the workload.
u64 RunWorkload(u64 which, u64 rounds)
{
    switch (which) {
    case 0:
        return compute(rounds);
    case 1:
        return pointers(rounds);
    case 2:
        return api(rounds);
    default:
        return 0;
    }
}

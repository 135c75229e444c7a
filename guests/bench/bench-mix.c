/* Integer mix; one unit is a sieve, a CRC-32, an xorshift walk with branches and a division, and a shell sort. */
#include "bench.h"

#define SIEVE 16384
#define CRC_BYTES 8192
#define WALK 8192
#define SORT 2048

static uint8_t composite[SIEVE], bytes[CRC_BYTES];
static uint32_t crc_table[256], numbers[SORT];
static uint64_t random_state = 88172645463325252u;

static uint64_t xorshift(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static unsigned sieve(void) {
    unsigned primes = 0;
    for (unsigned i = 0; i < SIEVE; i++) composite[i] = 0;
    for (unsigned i = 2; i < SIEVE; i++) {
        if (composite[i]) continue;
        primes++;
        for (unsigned j = i * 2; j < SIEVE; j += i) composite[j] = 1;
    }
    return primes;
}

static void make_crc_table(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++) c = c & 1 ? 0xEDB88320 ^ c >> 1 : c >> 1;
        crc_table[i] = c;
    }
}

static uint32_t crc32(void) {
    uint32_t c = ~0u;
    for (unsigned i = 0; i < CRC_BYTES; i++) c = crc_table[(c ^ bytes[i]) & 0xFF] ^ c >> 8;
    return ~c;
}

static uint64_t walk(void) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < WALK; i++) {
        uint64_t r = xorshift();
        if (r & 1) sum += r >> 3;
        else if (r & 2) sum ^= r;
        else sum -= r % ((i & 1023) + 3);
    }
    return sum;
}

static uint32_t shell_sort(void) {
    for (unsigned i = 0; i < SORT; i++) numbers[i] = (uint32_t)xorshift();
    for (unsigned gap = SORT / 2; gap; gap /= 2) {
        for (unsigned i = gap; i < SORT; i++) {
            uint32_t value = numbers[i];
            unsigned j = i;
            for (; j >= gap && numbers[j - gap] > value; j -= gap) numbers[j] = numbers[j - gap];
            numbers[j] = value;
        }
    }
    return numbers[SORT / 3];
}

void guest_main(void) {
    make_crc_table();
    for (unsigned i = 0; i < CRC_BYTES; i++) bytes[i] = (uint8_t)xorshift();
    unsigned long units = begin(10), sum = 0;
    for (unsigned long i = 0; i < units; i++) {
        sum += sieve();
        sum += crc32();
        sum ^= walk();
        sum += shell_sort();
        bytes[i % CRC_BYTES] ^= (uint8_t)sum;
    }
    done(units, sum);
}

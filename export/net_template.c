/*
 * A neural network of +1 and -1 that classifies images: C99, no floating
 * point, no malloc(), no library. Written by quantized_net
 * (./predict_mnist.py MODEL --export net.c), not by hand.
 *
$about
 *
 *     int quantized_net_classify(const uint8_t *pixels);
 *
$pixels
 *
 * Compile it like any file of yours, as C or as C++:
 *
 *     cc -std=c99 -O3 -c net.c        (-Os where flash is short)
 *
 * This declares the function and the sizes in another file:
 *
 *     #define QUANTIZED_NET_HEADER
 *     #include "net.c"
 *
 * Nothing is kept from one call to the next, so threads and interrupts may
 * call it at the same time. All memory that it needs is on the stack. Bytes:
 *
$memory
 *
 * With -Os or -O2 come up to $code_max bytes of code, and up to $stack_max bytes of
 * stack for what the compiler keeps there. Macros for the compiler (-D):
 *
 *     QUANTIZED_NET_WORD    Bits of a word: 8, 16, 32 or 64.
$about_first_layer *     QUANTIZED_NET_NAMES   Adds quantized_net_class_names[], strings.
 *     QUANTIZED_NET_MAIN    Adds a main() that reads images, pixels and
 *                           nothing else, from the standard input and prints
 *                           the class of each.
 */

#include <stdint.h>

#ifndef QUANTIZED_NET_PIXELS

#define QUANTIZED_NET_WIDTH $width
#define QUANTIZED_NET_HEIGHT $height
#define QUANTIZED_NET_PIXELS $n_pixels
#define QUANTIZED_NET_CLASSES $n_classes

#ifdef __cplusplus
extern "C" {
#endif

int quantized_net_classify(const uint8_t *pixels);

#ifdef QUANTIZED_NET_NAMES
extern const char *const quantized_net_class_names[QUANTIZED_NET_CLASSES];
#endif

#ifdef __cplusplus
}
#endif

#endif

#ifndef QUANTIZED_NET_HEADER

/* What fits the machine; any choice gives the same classes. */

#ifdef QUANTIZED_NET_WORD
#define BITS QUANTIZED_NET_WORD
#elif defined __AVR__
#define BITS 8
#elif defined __MSP430__
#define BITS 16
#elif defined __LP64__ && !defined __x86_64__
#define BITS 64
#else
#define BITS 32
#endif

/* Whether an instruction counts bits. Where there is none, the compiler's
   builtin calls a function that is slower than the one below. */
#if defined __POPCNT__ || defined __aarch64__ || defined __riscv_zbb \
    || defined _ARCH_PWR7 || defined __wasm__
#define COUNTS_BITS 1
#else
#define COUNTS_BITS 0
#endif

/* On AVR flash is read by instructions of its own. */
#ifdef __AVR__
#include <avr/pgmspace.h>
#define FLASH PROGMEM
#define READ(type, p) ((type)(sizeof(type) == 1 ? pgm_read_byte(p) \
    : sizeof(type) == 2 ? pgm_read_word(p) : pgm_read_dword(p)))
$avr#else
#define FLASH
#define READ(type, p) (*(p))
#endif

/* W64(a, b): 64 weights, 1 is +1 and 0 is -1, from the lowest bit of a to the
   highest of b, both hexadecimal. W8(a) to W56(a, b): the last of a row. */
#define W8(a) 0x##a##ul
#if BITS == 8
typedef uint8_t word_t;
#define W16(a) W8(a) & 255, W8(a) >> 8
#define W24(a) W16(a) & 255, W8(a) >> 16
#define W32(a) W24(a) & 255, W8(a) >> 24
#elif BITS == 16
typedef uint16_t word_t;
#define W16(a) W8(a)
#define W24(a) W8(a) & 65535, W8(a) >> 16
#define W32(a) W24(a)
#elif BITS == 32 || (BITS == 64 && !defined __AVR__)
#if BITS == 32
typedef uint32_t word_t;
#else
typedef uint64_t word_t;
#endif
#define W16(a) W8(a)
#define W24(a) W8(a)
#define W32(a) W8(a)
#else
#error "QUANTIZED_NET_WORD must be 8, 16, 32 or, but for AVR, 64"
#endif
#if BITS == 64
#define W40(a, b) W64(a, b)
#define W48(a, b) W64(a, b)
#define W56(a, b) W64(a, b)
#define W64(a, b) (word_t)W8(b) << 32 | W8(a)
#else
#define W40(a, b) W32(a), W8(b)
#define W48(a, b) W32(a), W16(b)
#define W56(a, b) W32(a), W24(b)
#define W64(a, b) W32(a), W32(b)
#endif

/* Number of words that these make of n weights. */
#define WORDS(n) (((n) + BITS - 1) / BITS)

/* Bit i of a vector, in its word i / BITS. */
#define BIT(i) ((word_t)((word_t)1 << (i) % BITS))

/* The trained network */

$tables

/* Number of bits that are 1. */
static unsigned count_bits(word_t x)
{
#if COUNTS_BITS && BITS == 64
    return (unsigned)__builtin_popcountll(x);
#elif COUNTS_BITS
    return (unsigned)__builtin_popcount(x);
#else
    /* Sums of 2, 4 and 8 neighbours side by side, then of all bytes. */
    const word_t ones = (word_t)-1;
    x = (word_t)(x - (x >> 1 & ones / 3));
    x = (word_t)((x & ones / 5) + (x >> 2 & ones / 5));
    x = (word_t)((x + (x >> 4)) & ones / 17);
    return (unsigned)((word_t)(x * (ones / 255)) >> (BITS - 8));
#endif
}

/* Number of bits in which two vectors differ. */
static unsigned count_differing(const word_t *x, const word_t *weights,
                                unsigned n_words)
{
    unsigned i, n = 0;
    for (i = 0; i < n_words; i++)
        n += count_bits((word_t)(x[i] ^ READ(word_t, weights + i)));
    return n;
}

/* No bits; those behind the last unit stay 0, as their weights are. */
static void clear(word_t *x, unsigned n_words)
{
    unsigned i;
    for (i = 0; i < n_words; i++)
        x[i] = 0;
}

$first_layers#if LAYERS > $n_ends
/* Other layers but the last. A unit is +1 where it differs from its weights in
   fewer inputs than its limit. */
static void hidden_layer(const word_t *x, unsigned n_words,
                         const word_t *weights, const limit_t *limits,
                         unsigned n_units, word_t *out)
{
    unsigned unit;
    clear(out, WORDS(n_units));
    for (unit = 0; unit < n_units; unit++) {
        if (count_differing(x, weights, n_words)
                < READ(limit_t, limits + unit))
            out[unit / BITS] = (word_t)(out[unit / BITS] | BIT(unit));
        weights += n_words;
    }
}
#endif

/* Last layer: the first class of the highest rank. */
static int last_layer(const word_t *x)
{
    const word_t *weights = weights_$last;
    const rank_t *class_ranks = ranks_$last;
    rank_t highest = 0;
    int i, best = 0;
    for (i = 0; i < QUANTIZED_NET_CLASSES; i++) {
        const rank_t rank = READ(rank_t, class_ranks + count_differing(
            x, weights, $last_words));
        if (rank > highest) {
            highest = rank;
            best = i;
        }
        weights += $last_words;
        class_ranks += $last_inputs + 1;
    }
    return best;
}

int quantized_net_classify(const uint8_t *pixels)
{
$calls
}

#ifdef QUANTIZED_NET_NAMES
const char *const quantized_net_class_names[QUANTIZED_NET_CLASSES] = {
$names
};
#endif

#ifdef QUANTIZED_NET_MAIN
#include <stdio.h>

int main(void)
{
    static uint8_t pixels[QUANTIZED_NET_PIXELS];
    size_t n;
    while ((n = fread(pixels, 1, sizeof pixels, stdin)) == sizeof pixels)
        printf("%d\n", quantized_net_classify(pixels));
    if (n != 0)
        fprintf(stderr, "the last image has %lu of %lu pixels\n",
                (unsigned long)n, (unsigned long)sizeof pixels);
    return n != 0;
}
#endif

#endif

/* Whether compilers make instructions for several words at once of loops. */
#if defined __SSE2__ || defined _M_X64 || defined __ARM_NEON
#define MANY_AT_ONCE 1
#else
#define MANY_AT_ONCE 0
#endif

#ifdef QUANTIZED_NET_PLANES
#define PLANES QUANTIZED_NET_PLANES
#else
#define PLANES (BITS == 64 || COUNTS_BITS || MANY_AT_ONCE)
#endif

/* First layer. With its weights, +1 and -1, a unit's sum is that of the pixels
   whose weight is +1, less that of the others; out[] gets bits. */
#if PLANES
static void first_layer(const uint8_t *pixels, word_t *out)
{
    /* Bit k of planes[p] is bit p of pixel k. */
    word_t planes[8][WORDS(QUANTIZED_NET_PIXELS)] = {{0}};
    const word_t *weights = weights_1;
    int32_t all = 0;
    unsigned unit, p, i, k;
    for (k = 0; k < QUANTIZED_NET_PIXELS; k++) {
        const unsigned pixel = pixels[k];
        all += (int32_t)pixel;
        for (p = 0; pixel >> p; p++)
            if (pixel >> p & 1)
                planes[p][k / BITS] = (word_t)(planes[p][k / BITS] | BIT(k));
    }
    clear(out, WORDS(UNITS_1));
    for (unit = 0; unit < UNITS_1; unit++) {
        int32_t plus = 0;
        for (p = 0; p < 8; p++) {
            unsigned n = 0;
            for (i = 0; i < WORDS(QUANTIZED_NET_PIXELS); i++)
                n += count_bits(
                    (word_t)(planes[p][i] & READ(word_t, weights + i)));
            plus += (int32_t)((uint32_t)n << p);
        }
        if (plus - (all - plus) >= READ(threshold_t, thresholds_1 + unit))
            out[unit / BITS] = (word_t)(out[unit / BITS] | BIT(unit));
        weights += WORDS(QUANTIZED_NET_PIXELS);
    }
}
#else
static void first_layer(const uint8_t *pixels, word_t *out)
{
    /* The units of a word at a time, so that few sums are in memory. */
    int32_t plus[BITS];
    const word_t *weights = weights_1;
    const threshold_t *thresholds = thresholds_1;
    unsigned left, n, unit, k;
    clear(out, WORDS(UNITS_1));
    for (left = UNITS_1; left > 0; left -= n) {
        int32_t all = 0;
        n = left < BITS ? left : BITS;
        for (unit = 0; unit < n; unit++)
            plus[unit] = 0;
        for (k = 0; k < QUANTIZED_NET_PIXELS; k++) {
            const uint8_t pixel = pixels[k];
            if (pixel != 0) {
                const word_t *row = weights + k / BITS;
                const word_t bit = BIT(k);
                all += pixel;
                for (unit = 0; unit < n; unit++) {
                    if (READ(word_t, row) & bit)
                        plus[unit] += pixel;
                    row += WORDS(QUANTIZED_NET_PIXELS);
                }
            }
        }
        for (unit = 0; unit < n; unit++) {
            const int32_t sum = plus[unit] - (all - plus[unit]);
            if (sum >= READ(threshold_t, thresholds + unit))
                *out = (word_t)(*out | BIT(unit));
        }
        out++;
        weights += n * WORDS(QUANTIZED_NET_PIXELS);
        thresholds += n;
    }
}
#endif


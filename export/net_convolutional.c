/* An image is its pixels, row by row, each of WORDS(channels) words. A window
   moves by one pixel and keeps the image's size; what of it is outside adds
   nothing. A channel is 1 where any sum of a window of pooling, of pool rows
   and columns, reaches its threshold. */

#define MAX(a, b) ((a) > (b) ? (a) : (b))

#if BY_CLASS
/* Which part of a window of k rows is inside where its middle is in row y of
   n; likewise of columns. */
static unsigned border_class(unsigned y, unsigned n, unsigned k)
{
    return (y < k / 2 ? y : k / 2) + (y + k / 2 < n ? 0 : y + k / 2 + 1 - n);
}
#endif

/* First layer, of pixels: with its weights, +1 and -1, a channel's sum is that
   of the pixels whose weight is +1, less that of the others. */
static void pixel_convolution(const uint8_t *pixels, unsigned kh, unsigned kw,
                              unsigned pool, word_t *out)
{
    const unsigned height = QUANTIZED_NET_HEIGHT, width = QUANTIZED_NET_WIDTH;
    unsigned row, column, y, x, i, j, unit;
    for (row = 0; row < height / pool; row++)
        for (column = 0; column < width / pool; column++) {
            clear(out, WORDS(UNITS_1));
            for (y = row * pool; y < (row + 1) * pool; y++)
                for (x = column * pool; x < (column + 1) * pool; x++) {
                    const word_t *weights = weights_1;
                    const threshold_t *thresholds = thresholds_1;
#if BY_CLASS
                    thresholds += (border_class(y, height, kh) * kw
                                   + border_class(x, width, kw)) * UNITS_1;
#endif
                    for (unit = 0; unit < UNITS_1; unit++) {
                        int32_t sum = 0;
                        for (i = 0; i < kh; i++)
                            for (j = 0; j < kw; j++) {
                                /* Less than 0 is more than any width. */
                                const unsigned yy = y + i - kh / 2;
                                const unsigned xx = x + j - kw / 2;
                                const unsigned k = i * kw + j;
                                if (yy >= height || xx >= width)
                                    continue;
                                if (READ(word_t, weights + k / BITS) & BIT(k))
                                    sum += pixels[yy * width + xx];
                                else
                                    sum -= pixels[yy * width + xx];
                            }
                        if (sum >= READ(threshold_t, thresholds + unit))
                            out[unit / BITS] =
                                (word_t)(out[unit / BITS] | BIT(unit));
                        weights += WORDS(kh * kw);
                    }
                }
            out += WORDS(UNITS_1);
        }
}

#if CONVOLUTIONS > 1
/* Other convolutions, of +1 and -1. */
static void convolution(const word_t *image, unsigned height, unsigned width,
                        unsigned n_words, unsigned n_channels, unsigned kh,
                        unsigned kw, unsigned pool, const word_t *weights,
                        const threshold_t *thresholds, unsigned n_units,
                        word_t *out)
{
    unsigned row, column, y, x, i, unit;
    for (row = 0; row < height / pool; row++)
        for (column = 0; column < width / pool; column++) {
            clear(out, WORDS(n_units));
            for (y = row * pool; y < (row + 1) * pool; y++)
                for (x = column * pool; x < (column + 1) * pool; x++) {
                    /* The part of the window that is inside the image. */
                    const unsigned top = y < kh / 2 ? kh / 2 - y : 0;
                    const unsigned left = x < kw / 2 ? kw / 2 - x : 0;
                    const unsigned below = height + kh / 2 - y;
                    const unsigned right = width + kw / 2 - x;
                    const unsigned n_rows = (below < kh ? below : kh) - top;
                    const unsigned n_columns = (right < kw ? right : kw)
                        - left;
                    const int32_t n = (int32_t)n_rows * (int32_t)n_columns
                        * (int32_t)n_channels;
                    const word_t *first = image + ((y + top - kh / 2) * width
                        + x + left - kw / 2) * n_words;
                    const word_t *w = weights + (top * kw + left) * n_words;
                    for (unit = 0; unit < n_units; unit++) {
                        unsigned differing = 0;
                        for (i = 0; i < n_rows; i++)
                            differing += count_differing(
                                first + i * width * n_words,
                                w + i * kw * n_words, n_columns * n_words);
                        if (n - 2 * (int32_t)differing
                                >= READ(threshold_t, thresholds + unit))
                            out[unit / BITS] =
                                (word_t)(out[unit / BITS] | BIT(unit));
                        w += kh * kw * n_words;
                    }
                }
            out += WORDS(n_units);
        }
}
#endif


/* Runs net.c on an AVR: for each image of images.h its class, the cycles and
   the bytes of stack that it took, by the serial port. */
#define QUANTIZED_NET_HEADER
#include "net.c"
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/pgmspace.h>
#include <avr/sleep.h>
#include "images.h"

#define PAINT 0xa5

extern uint8_t _end; /* of the static data; the stack grows down to it */

static volatile uint16_t overflows;

ISR(TIMER1_OVF_vect)
{
    overflows++;
}

static void put(char c)
{
    while (!(UCSR0A & (1 << UDRE0)))
        ;
    UDR0 = (uint8_t)c;
}

static void print(uint32_t n, char end)
{
    char digits[10];
    int i = 0;
    do
        digits[i++] = (char)('0' + n % 10);
    while (n /= 10);
    while (i)
        put(digits[--i]);
    put(end);
}

int main(void)
{
    static uint8_t pixels[QUANTIZED_NET_PIXELS];
    uint16_t image, i;
    UCSR0B = 1 << TXEN0;
    UBRR0 = 0;
    TIMSK1 = 1 << TOIE1;
    for (image = 0; image < N_IMAGES; image++) {
        uint8_t *const top = (uint8_t *)SP - 8;
        uint8_t *p;
        uint16_t ticks;
        int found;
        for (i = 0; i < QUANTIZED_NET_PIXELS; i++)
            pixels[i] = pgm_read_byte(&images[image][i]);
        for (p = &_end; p < top; p++)
            *p = PAINT;
        overflows = 0;
        TCNT1 = 0;
        TCCR1B = 1;
        sei();
        found = quantized_net_classify(pixels);
        cli();
        ticks = TCNT1;
        TCCR1B = 0;
        for (p = &_end; p < top && *p == PAINT; p++)
            ;
        print((uint32_t)found, ' ');
        print((uint32_t)overflows << 16 | ticks, ' ');
        print((uint32_t)(top + 8 - p), '\n');
    }
    sleep_mode(); /* without interrupts: the simulator ends */
    return 0;
}

"""The C++ of the kernels: what a GPU has built in, and how it is compiled."""
import atexit
import ctypes
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

COMPILER = shutil.which(os.environ.get('CXX', 'g++'))

# Without the headers of C++, which take most of a compiler's time.
SHIM = r'''
#define __global__
#define __device__
#define __forceinline__ inline
#define __popcll __builtin_popcountll
// As CuPy's: it has no arithmetic of its own but that of float.
struct float16 {
    _Float16 value;
    float16() {}
    float16(float x) : value(x) {}
    template <typename T> explicit float16(T x) : value(float(x)) {}
    float16(const float16&) = default;
    float16& operator=(const float16&) = default;
    template <typename T> float16& operator=(const T& x) {
        return *this = float16(x);
    }
    operator float() const { return value; }
};
#define OPERATION(op) \
    template <typename T> float16& operator op##=(float16& x, const T& y) { \
        return x = float16(float(x) op float(y)); }
OPERATION(+) OPERATION(-) OPERATION(*) OPERATION(/)
inline float16 copysign(float16 x, float16 y) {
    return float16(__builtin_copysignf(x, y));
}
#define FUNCTION(name) \
    inline float name(float x) { return __builtin_##name##f(x); } \
    inline double name(double x) { return __builtin_##name(x); }
FUNCTION(sqrt) FUNCTION(exp) FUNCTION(log) FUNCTION(log2) FUNCTION(exp2)
FUNCTION(tanh) FUNCTION(fabs) FUNCTION(floor) FUNCTION(ceil) FUNCTION(rint)
inline float copysign(float x, float y) { return __builtin_copysignf(x, y); }
inline double copysign(double x, double y) {
    return __builtin_copysign(x, y);
}
inline float frexp(float x, int* n) { return __builtin_frexpf(x, n); }
inline double frexp(double x, int* n) { return __builtin_frexp(x, n); }
inline float ldexp(float x, int n) { return __builtin_ldexpf(x, n); }
inline double ldexp(double x, int n) { return __builtin_ldexp(x, n); }
inline float abs(float x) { return __builtin_fabsf(x); }
inline double abs(double x) { return __builtin_fabs(x); }
template <typename T> inline T min(T a, T b) { return b < a ? b : a; }
template <typename T> inline T max(T a, T b) { return a < b ? b : a; }
inline bool isnan(double x) { return x != x; }
inline bool isinf(double x) { return __builtin_isinf(x); }
template <typename T> inline T rsqrt(T x) { return T(1) / sqrt(x); }
template <typename T> struct Raw {
    T* p;
    long long width;
    T& operator[](long long i) const { return p[i]; }
    T& operator[](const int (&i)[2]) const { return p[i[0] * width + i[1]]; }
};
struct Index { unsigned x; };
struct Size { long long n; long long size() const { return n; } };
static Index gridDim, blockDim, blockIdx, threadIdx;
'''

C_TYPES = {
    'bool': 'bool', 'int8': 'signed char', 'uint8': 'unsigned char',
    'int16': 'short', 'uint16': 'unsigned short', 'int32': 'int',
    'uint32': 'unsigned', 'int64': 'long long',
    'uint64': 'unsigned long long', 'float16': 'float16', 'float32': 'float',
    'float64': 'double',
}


@functools.cache
def folder():
    """Makes a folder for what is compiled; it is removed at exit."""
    path = tempfile.mkdtemp(prefix='host_cupy')
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return pathlib.Path(path)


@functools.cache
def build(source, fused=False):
    """Compiles C++ to a library; ``fused`` allows a * b + c in one step."""
    name = hashlib.sha256(f'{fused}{source}'.encode()).hexdigest()[:16]
    path = folder() / f'{name}.cpp'
    path.write_text(SHIM + source)
    library = path.with_suffix('.so')
    subprocess.run(
        [COMPILER, '-O1', '-Wall', '-Wno-unused', '-Wno-narrowing', '-Werror',
         '-shared', '-fPIC', f'-ffp-contract={"fast" if fused else "off"}',
         *(['-mfma'] if fused else []), '-o', str(library), str(path)],
        check=True)
    return ctypes.CDLL(str(library))


def pointer(array):
    """Returns the address of the first element of a NumPy array."""
    return ctypes.c_void_p(array.ctypes.data)

"""CUDA C++ of our own: random numbers on the device, for `minizo.rng`."""

from functools import cache

import numpy as np

from .backend import namespace


def fill(law, out, key, place):
    """Fill a CuPy array with random numbers of Philox.

    Parameters
    ----------
    law : {"uniform", "normal"}
        Odd multiples of 2^-24 (float32) or 2^-53 in (-1, 1), as `minizo.rng.Stream.uniform` says;
        or standard normal numbers, by the transform of Box and Muller.
    key : tuple of 2 int
    place : tuple of 3 int
        The counter of block i is (i + 1, *place).
    """
    words = [np.uint64(word) for word in (*key, *place)]
    blocks = -(-out.size * out.dtype.itemsize // 32)  # of 256 random bits each
    kernel(namespace(out), law)(*words, out.size, out, size=blocks)
    return out


# Philox 4x64-10: J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as
# easy as 1, 2, 3", SC 2011, section 4.3. A bijection of the 256-bit counter for every 128-bit key;
# `numpy.random.Philox` is the same.
PHILOX = """
__device__ void philox(unsigned long long* c, unsigned long long k0, unsigned long long k1) {
  const unsigned long long m0 = 0xD2E7470EE14C6C93ULL, m1 = 0xCA5A826395121157ULL;
  for (int round = 0; round < 10; ++round) {
    const unsigned long long hi0 = __umul64hi(m0, c[0]), lo0 = m0 * c[0];
    const unsigned long long hi1 = __umul64hi(m1, c[2]), lo1 = m1 * c[2];
    c[0] = hi1 ^ c[1] ^ k0;
    c[1] = lo1;
    c[2] = hi0 ^ c[3] ^ k1;
    c[3] = lo0;
    k0 += 0x9E3779B97F4A7C15ULL;
    k1 += 0xBB67AE8584CAA73BULL;
  }
}
// the j-th number of a block: its bits as an odd integer, over 2^24 or 2^53, in (-1, 1)
__device__ float odd(const unsigned long long* c, int j, float) {
  const int bits = (int)(c[j / 2] >> (32 * (j % 2)));
  return float((bits >> 7) | 1) * (1.0f / 16777216.0f);
}
__device__ double odd(const unsigned long long* c, int j, double) {
  return double(((long long)c[j] >> 10) | 1) * (1.0 / 9007199254740992.0);
}
"""

# Thread i makes block i + 1 of the stream: 8 numbers of float32, or 4 of float64.
BLOCK = """
unsigned long long c[4] = {(unsigned long long)i + 1, c1, c2, c3};
philox(c, k0, k1);
const int numbers = 32 / sizeof(T);
const ptrdiff_t first = i * numbers;
"""
UNIFORM = """
for (int j = 0; j < numbers && first + j < n; ++j) out[first + j] = odd(c, j, T(0));
"""
# from two uniform numbers a, b: sqrt(-2 ln |a|) (cos pi b, sin pi b)
NORMAL = """
for (int j = 0; j < numbers; j += 2) {
  const T a = odd(c, j, T(0)), angle = T(3.14159265358979323846) * odd(c, j + 1, T(0));
  const T r = sqrt(T(-2) * log(a < T(0) ? -a : a));
  if (first + j < n) out[first + j] = r * cos(angle);
  if (first + j + 1 < n) out[first + j + 1] = r * sin(angle);
}
"""
PLACE = "uint64 k0, uint64 k1, uint64 c1, uint64 c2, uint64 c3, int64 n"


@cache
def kernel(xp, law):
    """The kernel of ``law``, compiled when it is first called."""
    body = BLOCK + {"uniform": UNIFORM, "normal": NORMAL}[law]
    return xp.ElementwiseKernel(PLACE, "raw T out", body, f"minizo_{law}", preamble=PHILOX)

// CUDA C++ as g++ understands it: enough for the kernels that CuPy writes at run time.
#pragma once
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <cstdlib>
#include <algorithm>
#include <utility>
#include <limits>
#include <type_traits>
#define FAKEGPU 1
#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __noinline__
#define __constant__ static
#define __shared__ static
#define __launch_bounds__(...)
#define __restrict__
struct fk_dim3 { unsigned int x, y, z; };
static fk_dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;
extern "C" void fk_barrier(void);
static inline void __syncthreads() { fk_barrier(); }
static inline void __syncwarp(unsigned = 0xffffffffu) { fk_barrier(); }
static inline void __threadfence() {}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
template <class T> static inline T __ldg(const T* p) { return *p; }
static inline float __int_as_float(int i) { float f; memcpy(&f, &i, 4); return f; }
static inline int __float_as_int(float f) { int i; memcpy(&i, &f, 4); return i; }
static inline unsigned __float_as_uint(float f) { unsigned i; memcpy(&i, &f, 4); return i; }
static inline double __longlong_as_double(long long i) { double f; memcpy(&f, &i, 8); return f; }
static inline long long __double_as_longlong(double f) { long long i; memcpy(&i, &f, 8); return i; }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
// the overloads of device code
#define FK1(f) static inline float f(float x) { return f##f(x); }
using std::isnan; using std::isinf; using std::isfinite; using std::signbit;
using std::exp; using std::log; using std::sqrt; using std::floor; using std::ceil; using std::tanh;
using std::sin; using std::cos; using std::pow; using std::abs; using std::atanh; using std::log1p;
using std::expm1; using std::log2; using std::rint; using std::copysign; using std::fabs;
using std::nextafter; using std::trunc; using std::fmod; using std::exp2; using std::log10;
using std::tan; using std::asin; using std::acos; using std::atan; using std::atan2; using std::sinh;
using std::cosh; using std::asinh; using std::acosh; using std::hypot; using std::cbrt; using std::round;
using std::erf; using std::erfc; using std::lgamma; using std::tgamma; using std::fmax; using std::fmin;
using std::ldexp; using std::frexp; using std::modf; using std::fma;
#define FK_MM(T) \
  static inline T min(T a, T b) { return b < a ? b : a; } \
  static inline T max(T a, T b) { return a < b ? b : a; }
FK_MM(int) FK_MM(unsigned) FK_MM(long) FK_MM(unsigned long) FK_MM(long long) FK_MM(unsigned long long)
// CUDA's: a NaN gives way to the other number
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }
template <class T> static inline T atomicAdd(T* p, T v) { T o = *p; *p = o + v; return o; }
template <class T> static inline T atomicMax(T* p, T v) { T o = *p; if (v > o) *p = v; return o; }
template <class T> static inline T atomicMin(T* p, T v) { T o = *p; if (v < o) *p = v; return o; }
template <class T> static inline T atomicExch(T* p, T v) { T o = *p; *p = v; return o; }
template <class T> static inline T atomicCAS(T* p, T c, T v) { T o = *p; if (o == c) *p = v; return o; }
template <class T> static inline T atomicOr(T* p, T v) { T o = *p; *p = o | v; return o; }
template <class T> static inline T atomicAnd(T* p, T v) { T o = *p; *p = o & v; return o; }
template <class T> static inline T atomicXor(T* p, T v) { T o = *p; *p = o ^ v; return o; }

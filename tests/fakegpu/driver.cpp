// The CUDA runtime and driver that CuPy sees: memory of the host, kernels that g++ compiled,
// counters of everything that is ordered. Functions have the signatures of CuPy's own wrappers
// (cupy_backends.cuda.api.runtime and .driver), whose C function pointers they replace.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>
struct PyObject;
extern "C" {
PyObject* Py_BuildValue(const char*, ...);
void PyErr_SetObject(PyObject*, PyObject*);
}
namespace {
enum Kind { LAUNCH, H2D, D2H, D2D, MEMSET, SYNC, MALLOC, FREE, EVENT, KINDS };
long long count[KINDS];
long long live, limit = -1;
std::map<intptr_t, size_t> sizes;
struct Entry { Kind kind; std::string what; };
std::vector<Entry> events;
bool logging = false;
int dry = 0;
PyObject *oom_type, *oom_value;
struct Function { std::string name; void (*run)(unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void**); };
void note(Kind k, const char* what) {
  count[k]++;
  if (logging) events.push_back({k, what});
}
PyObject* none() { return Py_BuildValue(""); }
bool device(intptr_t p) {
  auto it = sizes.upper_bound(p);
  if (it == sizes.begin()) return false;
  --it;
  return p < it->first + (intptr_t)it->second;
}
}  // namespace
extern "C" {
void fk_on_memory_error(PyObject* type, PyObject* value) { oom_type = type; oom_value = value; }
void fk_limit(long long bytes) { limit = bytes; }
void fk_dry(int on) { dry = on; }
void fk_log(int on) { logging = on; events.clear(); }
long long fk_count(int k) { return count[k]; }
void fk_reset() { memset(count, 0, sizeof count); events.clear(); }
long long fk_events() { return events.size(); }
int fk_event_kind(long long i) { return events[i].kind; }
const char* fk_event_name(long long i) { return events[i].what.c_str(); }
void fk_launched(const char* what) { note(LAUNCH, what); }
int fk_is_dry() { return dry; }
int fk_is_device(intptr_t p) { return device(p); }
intptr_t fk_function(const char* name, void* run) {
  return (intptr_t) new Function{name, (decltype(Function::run))run};
}
// runtime
intptr_t fk_malloc(size_t size, int) {
  if (limit >= 0 && live + (long long)size > limit) { PyErr_SetObject(oom_type, oom_value); return 0; }
  void* p = nullptr;
  if (posix_memalign(&p, 512, size ? size : 512)) { PyErr_SetObject(oom_type, oom_value); return 0; }
  memset(p, 0x7f, size);  // never zeros: 3.4e38 in float32
  sizes[(intptr_t)p] = size; live += size;
  note(MALLOC, "cudaMalloc");
  return (intptr_t)p;
}
PyObject* fk_free(intptr_t p, int) {
  auto it = sizes.find(p);
  if (it != sizes.end()) { live -= it->second; sizes.erase(it); free((void*)p); }
  note(FREE, "cudaFree");
  return none();
}
intptr_t fk_host_alloc(size_t size, unsigned, int) { void* p = nullptr; posix_memalign(&p, 512, size ? size : 512); return (intptr_t)p; }
PyObject* fk_free_host(intptr_t p, int) { free((void*)p); return none(); }
static PyObject* copied(intptr_t d, intptr_t s, size_t n, int kind) {
  bool to = device(d), from = device(s);
  if (n) memmove((void*)d, (void*)s, n);
  note(to ? (from ? D2D : H2D) : (from ? D2H : D2D), "memcpy");
  return none();
}
PyObject* fk_memcpy(intptr_t d, intptr_t s, size_t n, int kind, int) { note(SYNC, "memcpy"); return copied(d, s, n, kind); }
PyObject* fk_memcpy_async(intptr_t d, intptr_t s, size_t n, int kind, intptr_t, int) { return copied(d, s, n, kind); }
PyObject* fk_memset(intptr_t p, int v, size_t n, int) { memset((void*)p, v, n); note(MEMSET, "memset"); return none(); }
PyObject* fk_memset_async(intptr_t p, int v, size_t n, intptr_t, int) { return fk_memset(p, v, n, 0); }
int fk_zero(int) { return 0; }
int fk_one(int) { return 1; }
PyObject* fk_none() { return none(); }
PyObject* fk_none_i(int, int) { return none(); }
PyObject* fk_none_p(intptr_t, int) { return none(); }
int fk_zero_p(intptr_t, int) { return 0; }
int fk_version(int) { return 12090; }
int fk_memory_type(intptr_t p, int) { return device(p) ? 2 : 0; }
intptr_t fk_handle(int) { static intptr_t n = 1000; return ++n; }
intptr_t fk_handle_u(unsigned, int) { return fk_handle(0); }
PyObject* fk_stream_sync(intptr_t, int) { note(SYNC, "streamSynchronize"); return none(); }
PyObject* fk_device_sync(int) { note(SYNC, "deviceSynchronize"); return none(); }
PyObject* fk_event_sync(intptr_t, int) { note(SYNC, "eventSynchronize"); return none(); }
PyObject* fk_event_record(intptr_t, intptr_t, int) { note(EVENT, "eventRecord"); return none(); }
int fk_attribute(int a, int, int) {
  switch (a) {
    case 1: case 2: case 3: return 1024; case 4: return 64; case 5: return 2147483647;
    case 6: case 7: return 65535; case 8: return 49152; case 10: return 32; case 12: return 65536;
    case 13: return 1980000; case 16: return 132; case 39: return 2048; case 75: return 9; case 76: return 0;
    case 81: return 233472; case 97: return 232448; default: return 0;
  }
}
// driver
PyObject* fk_launch(intptr_t f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                    unsigned, intptr_t, intptr_t params, intptr_t, int) {
  auto* fn = (Function*)f;
  note(LAUNCH, fn->name.c_str());
  if (!dry) fn->run(gx, gy, gz, bx, by, bz, (void**)params);
  return none();
}
intptr_t fk_context(int) { return 1; }
}

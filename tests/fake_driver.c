/* A libcuda.so.1 for tests: of the version FAKE_CUDA (such as 12040), with the devices FAKE_GPUS (such as "90 121").
   It has what the CUDA runtime and `onedraw info` ask of a driver before anything is computed. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kSuccess = 0, kInvalidValue = 1, kNoDevice = 100, kInvalidDevice = 101, kNotFound = 500 };
enum { kMultiprocessors = 16, kMajor = 75, kMinor = 76 };

static int capability(int device) {
  const char* text = getenv("FAKE_GPUS");
  int value = 0;
  int length = 0;
  for (; text && sscanf(text, "%d%n", &value, &length) == 1; text += length)
    if (device-- == 0) return value;
  return -1;
}

static int count(void) {
  int n = 0;
  while (capability(n) >= 0) ++n;
  return n;
}

int cuDriverGetVersion(int* version) {
  const char* const text = getenv("FAKE_CUDA");
  *version = text ? atoi(text) : 13000;
  return kSuccess;
}
int cuInit(unsigned flags) {
  (void)flags;
  return count() ? kSuccess : kNoDevice;
}
int cuGetErrorName(int error, const char** name) {
  *name = error == kNoDevice ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR_UNKNOWN";
  return kSuccess;
}
int cuDeviceGetCount(int* n) {
  *n = count();
  return kSuccess;
}
int cuDeviceGet(int* device, int ordinal) {
  *device = ordinal;
  return capability(ordinal) < 0 ? kInvalidDevice : kSuccess;
}
int cuDeviceGetName(char* name, int length, int device) {
  snprintf(name, (size_t)length, "Fake GPU %d", capability(device));
  return kSuccess;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  const int is = capability(device);
  *value = attribute == kMajor ? is / 10 : attribute == kMinor ? is % 10 : attribute == kMultiprocessors ? 132 : 0;
  return kSuccess;
}
/* Whatever else the runtime looks for is there, and fails. */
static int fail(void) { return kNoDevice; }

int cuGetProcAddress_v2(const char* name, void** function, int version, unsigned long long flags, int* status) {
  (void)version, (void)flags;
  if (strcmp(name, "cuGetProcAddress") == 0) name = "cuGetProcAddress_v2";
  *function = dlsym(RTLD_DEFAULT, name);
  if (!*function) *function = (void*)&fail;
  if (status) *status = 0;
  return kSuccess;
}
int cuGetProcAddress(const char* name, void** function, int version, unsigned long long flags) {
  return cuGetProcAddress_v2(name, function, version, flags, 0);
}

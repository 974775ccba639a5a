/* As step.c, on a CUDA device: the program's own tensors, on its own stream. Prints what each step did. Linked with -lcuda. */
#include "himuon.h"

#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 48, COLUMNS = 32, STEPS = 4 };

/* Ends the program where a call failed: with the library's own words, or with the driver's number. */
static void check(himuon_status status) {
  if (status != HIMUON_STATUS_OK) {
    fprintf(stderr, "himuon: %s\n", himuon_last_error());
    exit(1);
  }
}

static void check_cuda(CUresult result) {
  if (result != CUDA_SUCCESS) {
    fprintf(stderr, "CUDA: error %d\n", (int)result);
    exit(1);
  }
}

static himuon_optimizer *build(size_t device, CUstream stream) {
  const size_t matrix[] = {ROWS, COLUMNS}, vector[] = {ROWS};
  himuon_muon_options options;
  check(himuon_muon_options_init(&options, sizeof options));
  options.weight_decay = 0.05;
  himuon_builder *builder = himuon_builder_new();
  check(himuon_builder_parameter(builder, "layer.weight", matrix, 2));
  check(himuon_builder_parameter(builder, "layer.bias", vector, 1));
  check(himuon_builder_group(builder, "layer.*", "tile=16 steps=5", &options));
  check(himuon_builder_learning_rate(builder, 0.01));
  himuon_optimizer *optimizer = NULL;
  check(himuon_build_cuda(builder, device, stream, &optimizer));
  return optimizer;
}

static himuon_tensor allocate(size_t len) {
  CUdeviceptr address;
  check_cuda(cuMemAlloc(&address, len * sizeof(float)));
  return (himuon_tensor){(void *)address, len, HIMUON_F32};
}

/* The numbers of step.c, in the order of the stream. */
static void fill(himuon_tensor tensor, uint32_t seed, CUstream stream) {
  float numbers[ROWS * COLUMNS];
  for (size_t i = 0; i < tensor.len; i++) {
    seed = 1664525u * seed + 1013904223u;
    numbers[i] = (float)(seed >> 8) / 16777216.0f - 0.5f;
  }
  check_cuda(cuMemcpyHtoDAsync((CUdeviceptr)tensor.data, numbers, tensor.len * sizeof(float), stream));
  check_cuda(cuStreamSynchronize(stream));
}

int main(void) {
  CUdevice device;
  CUcontext context;
  CUstream stream;
  check_cuda(cuInit(0));
  check_cuda(cuDeviceGet(&device, 0));
  check_cuda(cuDevicePrimaryCtxRetain(&context, device)); /* what cudaSetDevice(0) makes current */
  check_cuda(cuCtxSetCurrent(context));
  check_cuda(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));

  himuon_tensor weights[] = {allocate(ROWS * COLUMNS), allocate(ROWS)};
  himuon_tensor gradients[] = {allocate(ROWS * COLUMNS), allocate(ROWS)};
  fill(weights[0], 1, stream);
  fill(weights[1], 2, stream);

  himuon_optimizer *optimizer = build(0, stream);
  for (uint32_t i = 0; i < STEPS; i++) {
    fill(gradients[0], 10 + 2 * i, stream);
    fill(gradients[1], 11 + 2 * i, stream);
    himuon_report report = {.size = sizeof report};
    check(himuon_step(optimizer, weights, gradients, 2, &report)); /* submitted; what comes next on the stream follows it */
    float weight;
    check_cuda(cuMemcpyDtoHAsync(&weight, (CUdeviceptr)weights[0].data, sizeof weight, stream));
    check_cuda(cuStreamSynchronize(stream));
    printf("step %u: %u launches, %u tiles, weight %08x\n", (unsigned)report.step, (unsigned)report.launches,
           (unsigned)report.tiles, *(unsigned *)memcpy(&(unsigned){0}, &weight, sizeof(unsigned)));
  }
  himuon_counts counts = {.size = sizeof counts};
  check(himuon_tile_counts(optimizer, &counts)); /* waits for the device */
  printf("%u tiles left alone\n", (unsigned)counts.non_finite_tiles);

  himuon_free(optimizer); /* before its stream */
  for (int i = 0; i < 2; i++) {
    check_cuda(cuMemFree((CUdeviceptr)weights[i].data));
    check_cuda(cuMemFree((CUdeviceptr)gradients[i].data));
  }
  check_cuda(cuStreamDestroy(stream));
  check_cuda(cuDevicePrimaryCtxRelease(device));
  return 0;
}

/* Declares a small model, steps it, saves its state and goes on from it. Prints what each step did. */
#include "himuon.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 48, COLUMNS = 32, STEPS = 3 };

/* Ends the program with the library's own words where a call failed. */
static void check(himuon_status status) {
  if (status != HIMUON_STATUS_OK) {
    fprintf(stderr, "himuon: %s\n", himuon_last_error());
    exit(1);
  }
}

static himuon_optimizer *build(void) {
  const size_t matrix[] = {ROWS, COLUMNS}, vector[] = {ROWS};
  himuon_muon_options options;
  check(himuon_muon_options_init(&options, sizeof options));
  options.weight_decay = 0.05;
  himuon_builder *builder = himuon_builder_new();
  check(himuon_builder_parameter(builder, "layer.weight", matrix, 2));
  check(himuon_builder_parameter(builder, "layer.bias", vector, 1));
  check(himuon_builder_group(builder, "layer.*", "tile=16 steps=5", &options));
  check(himuon_builder_learning_rate(builder, 0.01));
  check(himuon_builder_threads(builder, 1));
  himuon_optimizer *optimizer = NULL;
  check(himuon_build(builder, &optimizer));
  return optimizer;
}

/* The same numbers in every language: a small linear congruence. */
static void fill(float *numbers, size_t len, uint32_t seed) {
  for (size_t i = 0; i < len; i++) {
    seed = 1664525u * seed + 1013904223u;
    numbers[i] = (float)(seed >> 8) / 16777216.0f - 0.5f;
  }
}

static void step(himuon_optimizer *optimizer, float *weight, float *bias, uint32_t seed) {
  float weight_gradient[ROWS * COLUMNS], bias_gradient[ROWS];
  fill(weight_gradient, ROWS * COLUMNS, seed);
  fill(bias_gradient, ROWS, seed + 1);
  const himuon_tensor weights[] = {{weight, ROWS * COLUMNS, HIMUON_F32}, {bias, ROWS, HIMUON_F32}};
  const himuon_tensor gradients[] = {{weight_gradient, ROWS * COLUMNS, HIMUON_F32}, {bias_gradient, ROWS, HIMUON_F32}};
  himuon_report report = {.size = sizeof report};
  check(himuon_step(optimizer, weights, gradients, 2, &report));
  printf("step %u: %u launches, %u tiles, weight %08x\n", (unsigned)report.step, (unsigned)report.launches,
         (unsigned)report.tiles, *(unsigned *)memcpy(&(unsigned){0}, weight, sizeof(unsigned)));
}

int main(int count, char **arguments) {
  const char *path = count > 1 ? arguments[1] : "himuon-state.safetensors";
  static float weight[ROWS * COLUMNS], bias[ROWS];
  fill(weight, ROWS * COLUMNS, 1);
  fill(bias, ROWS, 2);

  himuon_optimizer *optimizer = build();
  char *text = NULL;
  check(himuon_explain(optimizer, &text));
  fputs(text, stderr);
  himuon_text_free(text);

  for (uint32_t i = 0; i < STEPS; i++) step(optimizer, weight, bias, 10 + 2 * i);
  check(himuon_save_state(optimizer, path));
  himuon_free(optimizer);

  optimizer = build();
  check(himuon_load_state(optimizer, path, NULL));
  step(optimizer, weight, bias, 10 + 2 * STEPS);

  /* What is wrong is said, and changes nothing. */
  if (himuon_step(optimizer, NULL, NULL, 2, NULL) != HIMUON_STATUS_ARGUMENT) return 2;
  printf("refused: %s\n", himuon_last_error());
  himuon_free(optimizer);
  return 0;
}

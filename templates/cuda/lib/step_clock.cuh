#pragma once
// What a step that is replayed from a graph, or whose gradients are scaled, decides on the device.
#include "launch.cuh"

namespace himuon {

// Words of the clock.
static constexpr u32 CLOCK_STEP = 0u;     // the training step, from 0
static constexpr u32 CLOCK_UPDATE = 1u;   // the update number of AdamW before its offset
static constexpr u32 CLOCK_PAST_END = 2u; // set, and never cleared, by a step past the captured ones
static constexpr u32 CLOCK_SKIPPED = 3u;  // steps that were skipped because of non-finite gradients
static constexpr u32 CLOCK_PHASES = 4u;   // one word per phase: 1 where its launches run; then one for any phase

// Which phase runs at this step; later launches read its word. Then the clock moves on.
HIMUON_DEVICE void begin_step(u32* clock, const u32* phases, u32 first_step, u32 end_step, u32 phase_count,
                              const float* found_non_finite, bool advances) {
  const u32 step = clock[CLOCK_STEP];
  __syncthreads();  // every thread has read the step
  const bool inside = step >= first_step && step < end_step;
  const bool skipped = found_non_finite != nullptr && *found_non_finite != 0.0f;
  const u32 phase = phases == nullptr ? 0u : inside ? phases[step - first_step] : phase_count;
  for (u32 index = threadIdx.x; index < phase_count; index += blockDim.x)
    clock[CLOCK_PHASES + index] = inside && !skipped && index == phase ? 1u : 0u;
  if (threadIdx.x != 0u) return;
  clock[CLOCK_PHASES + phase_count] = inside && !skipped ? 1u : 0u;
  if (!inside) clock[CLOCK_PAST_END] = 1u;
  if (inside && skipped) clock[CLOCK_SKIPPED] = clock[CLOCK_SKIPPED] + 1u;
  if (!advances || !inside) return;
  clock[CLOCK_STEP] = step + 1u;
  // A skipped step counts too: the host, which does not learn of it, counts every step.
  clock[CLOCK_UPDATE] = clock[CLOCK_UPDATE] + 1u;
}

// Gradients enter a step multiplied by c and alpha alone, so that is where their scale is taken out.
HIMUON_DEVICE void unscale_groups(const Group* groups, Group* unscaled, u32 group_count, float gradient_scale) {
  for (u32 index = threadIdx.x; index < group_count; index += blockDim.x) {
    Group group = groups[index];
    group.c *= gradient_scale;
    group.alpha *= gradient_scale;
    unscaled[index] = group;
  }
}

}  // namespace himuon

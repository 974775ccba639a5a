/* HiMuon: the optimizer step of every layer as independent tiles. Made from the library's source; see its README. */

#ifndef HIMUON_H
#define HIMUON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// First part of the version of the header; with the other two to be compared with `himuon_version`.
#define HIMUON_VERSION_MAJOR 0

// Second part of the version of the header.
#define HIMUON_VERSION_MINOR 1

// Third part of the version of the header.
#define HIMUON_VERSION_PATCH 0

// What a call came to.
typedef enum himuon_status {
  // Done.
  HIMUON_STATUS_OK = 0,
  // An argument is null, not UTF-8, misaligned, overlaps another, lies in another memory, or names nothing. Nothing has
  // changed.
  HIMUON_STATUS_ARGUMENT = 1,
  // The library refused, as the text says. Nothing has changed.
  HIMUON_STATUS_REFUSED = 2,
  // A step failed after its first launch, now or earlier: weights and state belong together no more. Load a saved
  // state with its weights; in a new process where the text says that the device is lost.
  HIMUON_STATUS_TORN = 3,
  // A defect of the library; the handle must not be used any more, nor freed.
  HIMUON_STATUS_PANIC = 4,
} himuon_status;

// An optimizer that is being declared.
typedef struct himuon_builder himuon_builder;

// An optimizer over the caller's parameters, on the CPU or on a CUDA device. One thread at a time may be in a call with it,
// those that only ask among them; which thread that is may change from call to call, and different optimizers are independent.
// In a process that was forked after it was built its threads and its device are not there: calls that give a status are
// refused, and `himuon_free` does nothing; build another one there, on a device in a process that was started and not forked.
typedef struct himuon_optimizer himuon_optimizer;

// How a mapped h x w tile of an H x W matrix is scaled, f = `scale_factor`.
typedef uint32_t himuon_scale;

// What the rows of a matrix are.
typedef uint32_t himuon_layout;

// What a parameter of three or more dimensions holds.
typedef uint32_t himuon_view;

// Options of a group whose matrices are mapped tile by tile. Begin with `himuon_muon_options_init`.
typedef struct himuon_muon_options {
  // Set by `himuon_muon_options_init`, and to be left.
  size_t size;
  // Multiplies the optimizer's learning rate; without effect where `own_learning_rate` is not negative.
  double learning_rate_factor;
  // A rate of the group's own; negative: the optimizer's.
  double own_learning_rate;
  // Decoupled decay wd: W <- (1 - lr wd) W.
  double weight_decay;
  // Momentum in [0, 1).
  double momentum;
  // Whether the update looks one step ahead.
  bool nesterov;
  // Whether buf <- mu buf + (1 - mu) g instead of buf <- mu buf + g.
  bool moving_average;
  // Whether embeddings and heads, known by name, are mapped too.
  bool every_matrix;
  // Whether the rows of the mapped matrix are normalised by their second moment (NorMuon). On CUDA only at power 0.
  bool row_normalisation;
  // Decay of the second moment of rows.
  double row_beta2;
  // Added to its root.
  double row_epsilon;
  // How mapped tiles are scaled: one of `HIMUON_SCALE_...`. With a power above 0, or with normalised rows, none is read: the
  // update of each matrix is brought to the root mean square `scale_factor`.
  himuon_scale scale;
  // What the rows of a matrix are: one of `HIMUON_LAYOUT_...`.
  himuon_layout layout;
  // What three or more dimensions are: one of `HIMUON_VIEW_...`.
  himuon_view view;
  // The factor of the scales.
  double scale_factor;
  // The factor of what `coarse=r` adds to the tiles; negative: 0.5.
  double coarse_factor;
  // The momentum of what the coarse part holds; negative: 0.8, or `momentum` if that is less.
  double coarse_momentum;
} himuon_muon_options;

// Options of a group of AdamW. Begin with `himuon_adamw_options_init`.
typedef struct himuon_adamw_options {
  // Set by `himuon_adamw_options_init`, and to be left.
  size_t size;
  // Multiplies the optimizer's learning rate; without effect where `own_learning_rate` is not negative.
  double learning_rate_factor;
  // A rate of the group's own; negative: the optimizer's.
  double own_learning_rate;
  // Decoupled decay.
  double weight_decay;
  // Decay of the first moment.
  double beta1;
  // Decay of the second moment.
  double beta2;
  // Added to the root of the second moment.
  double epsilon;
  // Whether parameters of at most one dimension decay too.
  bool decay_vectors;
  // Whether f32 masters of bf16 weights are kept, as 16 bits an element of state. Of tiles the specification says it:
  // `weight=bf16 master_weights=true`.
  bool master_weights;
} himuon_adamw_options;

// What a NaN or an infinity in a gradient or momentum does.
typedef uint32_t himuon_non_finite;

// How severe a message is; the larger, the less so.
typedef uint32_t himuon_level;

// Takes a message: its level, its text, which ends with a zero and is valid until this returns, and the `user_data` of
// `himuon_set_log`.
typedef void (*himuon_log)(himuon_level level, const char *text, void *user_data);

// The type of numbers.
typedef uint32_t himuon_element;

// Contiguous numbers of the caller's, row-major and aligned to their size: in this process's memory, or on the device of an
// optimizer of `himuon_build_cuda`. It does not grow: they are passed as arrays.
typedef struct himuon_tensor {
  // The first number; of a device's its `CUdeviceptr`. Of a gradient null says that there is none: its parameter is left unchanged.
  void *data;
  // How many numbers.
  size_t len;
  // `HIMUON_F32`, `HIMUON_BF16` or `HIMUON_F16`.
  himuon_element element;
} himuon_tensor;

// What a step did. Begin with its size: `himuon_report report = {.size = sizeof report};`.
typedef struct himuon_report {
  // `sizeof(himuon_report)`.
  size_t size;
  // The step's number, from 0.
  uint64_t step;
  // Kernels that were launched.
  uint64_t launches;
  // Tiles of all launches.
  uint64_t tiles;
  // Tiles left unchanged because gradient or momentum held a NaN or an infinity.
  uint64_t non_finite_tiles;
  // Tiles that a criterion left unorthogonalised.
  uint64_t unorthogonalised_tiles;
  // Matrices whose coarse part was left out because it was not finite.
  uint64_t uncoupled_matrices;
  // Parameters of AdamW left unchanged because their gradient held a NaN or an infinity.
  uint64_t non_finite_parameters;
  // Parameters without a gradient.
  uint64_t missing_gradients;
  // Where the step was skipped: the first parameter that was not finite, from 0.
  uint64_t skipped_for;
  // Whether the whole step was skipped, by `HIMUON_NON_FINITE_SKIP_STEP`.
  bool skipped;
  // Whether the counts of tiles that are not finite or not orthogonalised are still on the device, and 0 here:
  // `himuon_tile_counts` waits for them. Never on the CPU.
  bool counts_pending;
} himuon_report;

// What became of the tiles of all steps so far, and of the numbers of AdamW. A device counts in 32 bits. Begin with its
// size: `himuon_counts counts = {.size = sizeof counts};`.
typedef struct himuon_counts {
  // `sizeof(himuon_counts)`.
  size_t size;
  // Tiles left unchanged because gradient or momentum held a NaN or an infinity.
  uint64_t non_finite_tiles;
  // Tiles that a criterion left unorthogonalised.
  uint64_t unorthogonalised_tiles;
  // Numbers that AdamW left unchanged because their moments would not have been finite. A gradient that is not finite
  // leaves the whole parameter alone on the CPU, which the report of the step counts.
  uint64_t non_finite_numbers;
  // Matrices whose coarse part was left out because they were not finite.
  uint64_t uncoupled_matrices;
} himuon_counts;

// From `step` on, this tile: `64`, `64x256` or `full`. It does not grow: they are passed as arrays.
typedef struct himuon_tile_change {
  // The first step, counted from 0.
  uint64_t step;
  // The tile.
  const char *tile;
} himuon_tile_change;

// Something failed, which no status says.
#define HIMUON_LEVEL_ERROR 1

// Something that the caller should know, though the work goes on.
#define HIMUON_LEVEL_WARNING 2

// What is being done that takes long, as tuning.
#define HIMUON_LEVEL_INFO 3

// Details, for whoever looks for the reason of something.
#define HIMUON_LEVEL_DEBUG 4

// f sqrt(max(h, w)).
#define HIMUON_SCALE_EXACT 0

// f sqrt of the longer edge of a whole tile, ragged or not.
#define HIMUON_SCALE_PAPER 1

// sqrt(max(1, H / W)).
#define HIMUON_SCALE_ORIGINAL 2

// f sqrt(max(H, W)).
#define HIMUON_SCALE_MATCH_RMS_ADAMW 3

// 1.
#define HIMUON_SCALE_NONE 4

// Outputs, as torch stores them.
#define HIMUON_LAYOUT_OUT_IN 0

// Inputs, as dense layers of flax have them.
#define HIMUON_LAYOUT_IN_OUT 1

// Four dimensions are a convolution, three are refused.
#define HIMUON_VIEW_AUTOMATIC 0

// (out, in, kh, kw), a matrix of out x (in kh kw).
#define HIMUON_VIEW_CONVOLUTION 1

// (experts, H, W), each a matrix of its own.
#define HIMUON_VIEW_STACK 2

// Its tile is left alone and counted; of AdamW's parameters the whole, on a device the number.
#define HIMUON_NON_FINITE_SKIP_TILE 0

// The whole step is skipped, and counted as taken: nothing changes.
#define HIMUON_NON_FINITE_SKIP_STEP 1

// The step is refused by name: nothing changes.
#define HIMUON_NON_FINITE_ERROR 2

// IEEE single precision.
#define HIMUON_F32 0

// bfloat16.
#define HIMUON_BF16 1

// IEEE half precision.
#define HIMUON_F16 2

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// A builder without parameters, to be ended by `himuon_build`, `himuon_build_cuda` or `himuon_builder_free`.
struct himuon_builder *himuon_builder_new(void);

// Frees a builder that is not built. Null is ignored.
//
// # Safety
// `builder` comes from `himuon_builder_new` and was neither built nor freed.
void himuon_builder_free(struct himuon_builder *builder);

// Declares a parameter, row-major and contiguous, of the `rank` sizes at `shape`. Steps pass parameters in this order.
//
// # Safety
// `builder` is a builder, `name` a text that ends with a zero, `shape` points to `rank` sizes.
enum himuon_status himuon_builder_parameter(struct himuon_builder *builder,
                                            const char *name,
                                            const size_t *shape,
                                            size_t rank);

// The matrices whose name matches `pattern` are mapped tile by tile. `specifications` is one as
// `tile=64 steps=5 coefficients=polar-express`, or several separated by `;`, of which the first holds. The first group that
// matches takes a parameter; null options are the default ones.
//
// A pattern that is the name of a parameter means that parameter alone, an embedding or a head too. Otherwise `*` stands for
// any part of a name, dots included, `?` for one character, `[ab]` for one of several, `{q,k}` for one of several texts, and
// `\` before one of these for the character itself; vectors, and what is an embedding or a head by its name, go to AdamW. The
// text of the pattern is the group's name, by which it is explained and set.
//
// # Safety
// `builder` is a builder, both texts end with a zero, `options` is null or points to options.
enum himuon_status himuon_builder_group(struct himuon_builder *builder,
                                        const char *pattern,
                                        const char *specifications,
                                        const struct himuon_muon_options *options);

// As `himuon_builder_group`, for the `count` parameters of `names`; `group` is the name by which the group is explained and set.
// Embeddings and heads among them go to AdamW, unless the options have `every_matrix`.
//
// # Safety
// `builder` is a builder, all texts end with a zero, `names` points to `count` of them, `options` is null or points to
// options.
enum himuon_status himuon_builder_group_of(struct himuon_builder *builder,
                                           const char *group,
                                           const char *const *names,
                                           size_t count,
                                           const char *specifications,
                                           const struct himuon_muon_options *options);

// The parameters whose name matches `pattern` are updated by AdamW; null options are the default ones. So are those that no
// group takes, and what a group of tiles leaves: vectors, embeddings and heads. Of the latter the first group of AdamW after
// that one which matches has the options, else the default ones hold: the pattern `*` last gives all of them options.
//
// # Safety
// `builder` is a builder, `pattern` ends with a zero, `options` is null or points to options.
enum himuon_status himuon_builder_group_adamw(struct himuon_builder *builder,
                                              const char *pattern,
                                              const struct himuon_adamw_options *options);

// The learning rate that groups follow; 0.02 without this call.
//
// # Safety
// `builder` is a builder.
enum himuon_status himuon_builder_learning_rate(struct himuon_builder *builder, double rate);

// Bytes of scratch memory that no launch may pass; no limit without this call.
//
// # Safety
// `builder` is a builder.
enum himuon_status himuon_builder_memory_budget(struct himuon_builder *builder, uint64_t bytes);

// What a NaN or an infinity does: one of `HIMUON_NON_FINITE_...`, `HIMUON_NON_FINITE_SKIP_TILE` without this call. On a device the
// other two wait for its answer at every step.
//
// # Safety
// `builder` is a builder.
enum himuon_status himuon_builder_non_finite(struct himuon_builder *builder,
                                             himuon_non_finite policy);

// Threads of a step on the CPU; all that the system offers without this call. Without effect on a CUDA device.
//
// # Safety
// `builder` is a builder.
enum himuon_status himuon_builder_threads(struct himuon_builder *builder,
                                          size_t threads);

// Builds the optimizer on the CPU and puts it into `optimizer`, or null if it fails. The builder is freed in any case.
//
// # Safety
// `builder` is a builder, which is not used after this; `optimizer` points to a place for a handle.
enum himuon_status himuon_build(struct himuon_builder *builder,
                                struct himuon_optimizer **optimizer);

// Kernels that were compiled elsewhere, in preference to those of the cache and of NVRTC: those in `folder`, which
// `himuon emit --complete --out FOLDER` has filled for the device's architecture (with `--row-normalised`, where rows are).
// Called again, it adds to them. Each call's stay in memory for as long as the process runs. Without effect on the CPU.
//
// # Safety
// `builder` is a builder, `folder` ends with a zero.
enum himuon_status himuon_builder_kernels(struct himuon_builder *builder,
                                          const char *folder);

// Builds the optimizer on the CUDA device of this number and puts it into `optimizer`, or null if it fails. The builder is freed in any case.
//
// `stream` is a `CUstream` or `cudaStream_t` of the device's primary context, which is the context of CUDA's runtime; null
// is the legacy default stream. It outlives the optimizer. Tensors of steps are addresses on this device; what a step does
// is submitted to the stream, in the order of whatever else is submitted there, and not waited for.
//
// Nothing of CUDA is needed before this call: the driver (12.0 or newer) is looked up here, NVRTC when a step needs a kernel
// that the cache does not hold. What the kernels of CUDA do not do, as criteria that look at whole matrices and `min_gap`, is refused here.
// No call on an optimizer changes what context is current for the calling thread, and with it the device of CUDA's runtime.
//
// # Safety
// `builder` is a builder, which is not used after this; `stream` is null or a stream as said; `optimizer` points to a place
// for a handle.
enum himuon_status himuon_build_cuda(struct himuon_builder *builder,
                                     size_t ordinal,
                                     void *stream,
                                     struct himuon_optimizer **optimizer);

// Sets who takes the messages of the library: those of the level `least` (`HIMUON_LEVEL_...`) and the more severe. Without
// this call, or with a null `log`, nobody is told. It is of the whole process, and holds for every optimizer.
//
// `log` is called in the middle of the call that a message is about, by whichever thread has something to say, one call at a
// time. It returns soon, waits for no thread that may be in a call of the library, and neither unwinds nor jumps out. What
// it calls of the library itself says nothing; it sets no `log`, and neither builds an optimizer nor takes a step, whose own
// threads would wait for it. Once this function has returned, the former `log` is
// called no more, and its `user_data` may go.
//
// # Safety
// `log` is null or a function as said, which any thread may call with `user_data`, until another one is set.
enum himuon_status himuon_set_log(himuon_log log,
                                  void *user_data,
                                  himuon_level least);

// Maps every tile of a `rows` x `columns` matrix, without a scale, into `output` of f32: what a step would take the weight
// along. To compare with any other implementation. With `coarse=r` the tiles are coupled, by a basis that 8 power iterations
// make from its seeds. A tile that holds a NaN or an infinity becomes zero. On the CPU, both tensors in this process's memory.
//
// # Safety
// `specification` ends with a zero; the numbers of both tensors are there; nobody else uses the output meanwhile or
// writes to the matrix.
enum himuon_status himuon_map(const char *specification,
                              struct himuon_tensor matrix,
                              size_t rows,
                              size_t columns,
                              struct himuon_tensor output);

// Frees an optimizer. Null is ignored. On a device this waits for what was submitted.
//
// # Safety
// `optimizer` comes from `himuon_build` or `himuon_build_cuda` and was not freed.
void himuon_free(struct himuon_optimizer *optimizer);

// Takes one step over all `count` parameters in the declared order: weights are updated in place, gradients are read. A
// gradient whose data is null leaves its parameter unchanged. `report` may be null.
//
// Of an optimizer of `himuon_build` tensors are in this process's memory, and the step is done when this returns. Of one of
// `himuon_build_cuda` they are on its device, and the step is submitted to its stream: weights and gradients stay where they
// are, and the gradients what they are, until the stream has passed it.
//
// # Safety
// `optimizer` is an optimizer; `weights` and `gradients` point to `count` tensors each, whose numbers are there, in the
// optimizer's memory; nobody else uses the weights meanwhile or writes to the gradients; `report` is null or a report that
// begins with its size.
enum himuon_status himuon_step(struct himuon_optimizer *optimizer,
                               const struct himuon_tensor *weights,
                               const struct himuon_tensor *gradients,
                               size_t count,
                               struct himuon_report *report);

// What became of the tiles of all steps so far. On a device this waits for what was submitted.
//
// # Safety
// `optimizer` is an optimizer, `counts` are counts that begin with their size.
enum himuon_status himuon_tile_counts(struct himuon_optimizer *optimizer, struct himuon_counts *counts);

// Steps taken so far; 0 for null.
//
// # Safety
// `optimizer` is null or an optimizer.
uint64_t himuon_steps_taken(const struct himuon_optimizer *optimizer);

// The learning rate that groups follow; NaN for null.
//
// # Safety
// `optimizer` is null or an optimizer.
double himuon_learning_rate(const struct himuon_optimizer *optimizer);

// Sets the learning rate that groups follow, from the next step on.
//
// # Safety
// `optimizer` is an optimizer.
enum himuon_status himuon_set_learning_rate(struct himuon_optimizer *optimizer, double rate);

// A line for each parameter: shape, group, tiles, bytes, and why. Put into `text`, to be freed by
// `himuon_text_free`; null if it fails.
//
// # Safety
// `optimizer` is an optimizer, `text` a place for a text.
enum himuon_status himuon_explain(struct himuon_optimizer *optimizer, char **text);

// What deserves a second look in the declaration, a line each, empty where there is nothing. Put into `text`, to be freed
// by `himuon_text_free`; null if it fails.
//
// # Safety
// `optimizer` is an optimizer, `text` a place for a text.
enum himuon_status himuon_warnings(struct himuon_optimizer *optimizer,
                                   char **text);

// Sets options to the default ones: the optimizer's learning rate, decay 0.1, heavy-ball Nesterov momentum of 0.95, no row
// normalisation, the scale 0.2 sqrt(max(h, w)) of an h x w tile, rows that are outputs.
//
// # Safety
// `options` is a place of `size` bytes, which is `sizeof(himuon_muon_options)`.
enum himuon_status himuon_muon_options_init(struct himuon_muon_options *options,
                                            size_t size);

// Sets options to the default ones: 0.05 times the optimizer's learning rate, decay 0.1, betas 0.95 and 0.95, epsilon 1e-8,
// no decay of vectors and scalars.
//
// # Safety
// `options` is a place of `size` bytes, which is `sizeof(himuon_adamw_options)`.
enum himuon_status himuon_adamw_options_init(struct himuon_adamw_options *options,
                                             size_t size);

// Sets a learning rate of a group's own, from the next step on. `(rest)` is the group of what no other takes.
//
// # Safety
// `optimizer` is an optimizer, `group` ends with a zero.
enum himuon_status himuon_set_group_learning_rate(struct himuon_optimizer *optimizer,
                                                  const char *group,
                                                  double rate);

// Sets the factor by which a group follows the optimizer's learning rate, from the next step on.
//
// # Safety
// `optimizer` is an optimizer, `group` ends with a zero.
enum himuon_status himuon_set_group_learning_rate_factor(struct himuon_optimizer *optimizer,
                                                         const char *group,
                                                         double factor);

// Sets the decoupled weight decay of a group, from the next step on.
//
// # Safety
// `optimizer` is an optimizer, `group` ends with a zero.
enum himuon_status himuon_set_weight_decay(struct himuon_optimizer *optimizer,
                                           const char *group,
                                           double decay);

// Sets the momentum of a group of tiles, from the next step on.
//
// # Safety
// `optimizer` is an optimizer, `group` ends with a zero.
enum himuon_status himuon_set_momentum(struct himuon_optimizer *optimizer,
                                       const char *group,
                                       double momentum);

// Sets the decay of both moments of a group of AdamW, from the next step on.
//
// # Safety
// `optimizer` is an optimizer, `group` ends with a zero.
enum himuon_status himuon_set_betas(struct himuon_optimizer *optimizer,
                                    const char *group,
                                    double beta1,
                                    double beta2);

// The tile of all groups is `tile`, but `every` at the steps 0, `period`, 2 `period`, ... with the learning rate multiplied
// by `factor` there. Both must be among the specifications of each group.
//
// # Safety
// `builder` is a builder, both tiles end with a zero.
enum himuon_status himuon_builder_schedule_periodic(struct himuon_builder *builder,
                                                    const char *tile,
                                                    const char *every,
                                                    uint64_t period,
                                                    double factor);

// The tile of all groups changes at the steps of `changes`, of which the first is 0. Each must be among the specifications
// of each group.
//
// # Safety
// `builder` is a builder, `changes` points to `count` changes, whose tiles end with a zero.
enum himuon_status himuon_builder_schedule_changes(struct himuon_builder *builder,
                                                   const struct himuon_tile_change *changes,
                                                   size_t count);

// Writes the state (momenta, moments, step, learning rate) to a safetensors file, whole or not at all. Weights are the
// caller's. A state that a device has saved may be loaded on the CPU and the other way round.
//
// # Safety
// `optimizer` is an optimizer, `path` ends with a zero.
enum himuon_status himuon_save_state(struct himuon_optimizer *optimizer,
                                     const char *path);

// As `himuon_save_state`, into memory: `bytes` and `len` get what the file would hold, to be freed by
// `himuon_bytes_free`; `bytes` gets null if it fails.
//
// # Safety
// `optimizer` is an optimizer, `bytes` a place for an address, `len` one for a length.
enum himuon_status himuon_save_state_to_bytes(struct himuon_optimizer *optimizer,
                                              uint8_t **bytes,
                                              size_t *len);

// Frees what `himuon_save_state_to_bytes` gave. Null is ignored.
//
// # Safety
// `bytes` and `len` come from one call of `himuon_save_state_to_bytes`, and were not freed.
void himuon_bytes_free(uint8_t *bytes, size_t len);

// Takes over a saved state. A file that is damaged or belongs to other parameters is refused, and nothing changes. The step
// and the optimizer's learning rate become the state's: call `himuon_set_learning_rate` after this for another. The options of
// groups, their factors and rates of their own among them, stay the present ones. `differences`, unless it is null, gets a text of
// those that are not what they were, a line each, empty where there are none, null if it fails; it is freed by
// `himuon_text_free`.
//
// # Safety
// `optimizer` is an optimizer, `path` ends with a zero, `differences` is null or a place for a text.
enum himuon_status himuon_load_state(struct himuon_optimizer *optimizer,
                                     const char *path,
                                     char **differences);

// As `himuon_load_state`, from what `himuon_save_state_to_bytes` gave or such a file holds.
//
// # Safety
// `optimizer` is an optimizer, `bytes` points to `len` bytes, `differences` is null or a place for a text.
enum himuon_status himuon_load_state_from_bytes(struct himuon_optimizer *optimizer,
                                                const uint8_t *bytes,
                                                size_t len,
                                                char **differences);

// The text of the last call of this thread that failed: what was found, what was expected, what to do. Valid until the
// next call that fails; empty before the first. Never null.
const char *himuon_last_error(void);

// The version of the library, as in `0.1.0`. Never null, always valid.
const char *himuon_version(void);

// Frees a text that the library made. Null is ignored.
//
// # Safety
// `text` comes from a function that says so, and was not freed.
void himuon_text_free(char *text);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* HIMUON_H */

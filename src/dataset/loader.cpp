// The caller's thread plans, and tells the store in which order the files will be read, far ahead of
// what is being loaded. It keeps a window of `batches_ahead` batches filled with their
// samples' sizes, which the annotations give, so a batch's padded size is known before any file is
// read. The work unit is one image, in order of (batch, position), so all threads help with the
// batch that is due next, and each writes into its own plane of the batch's buffer. The caller's
// thread also takes finished batches from the front of the window, so everything about order and
// bad images is decided in one thread, whatever the others' timing.
#include "dataset/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "dataset/image.h"
#include "dataset/sample.h"
#include "dataset/sample_reader.h"
#include "dataset/sampler.h"
#include "dataset/targets.h"

namespace atl::dataset {
namespace {

// One batch on its way.
struct Slot {
  Batch batch;
  std::vector<std::optional<SampleReader::Failure>> failures;  // by sample
  size_t unfinished = 0;  // samples; guarded by the loader's mutex
  std::once_flag have_pixels;

  size_t plane_size() const {
    return static_cast<size_t>(batch.height) * static_cast<size_t>(batch.width) * 3;
  }
};

struct Task {
  Slot* slot = nullptr;
  size_t sample = 0;
};

int padded(int side, int divisor) { return (side + divisor - 1) / divisor * divisor; }

}  // namespace

struct Loader::Impl {
  const CocoDataset& dataset;
  storage::ObjectStore& store;
  const std::string image_prefix;
  const LoaderOptions options;
  const BatchPlan plan;
  const std::function<int64_t(int64_t)> epoch_of;
  trace::Tracer* const tracer;

  // Of the caller's thread alone.
  int64_t next_step = 0;
  const SamplePlanner planner = {dataset, options};
  bool plan_ended = false;
  // Planned, and named to the store, but not being loaded yet; then those that are.
  std::deque<std::unique_ptr<Slot>> planned;
  size_t planned_images = 0;
  std::deque<std::unique_ptr<Slot>> window;
  std::unordered_set<int64_t> bad_indices;
  std::optional<Error> failure;

  mutable std::mutex mutex;  // guards what follows, and Slot::unfinished
  std::condition_variable work_came;
  std::condition_variable sample_done;
  std::deque<Task> tasks;
  std::vector<BadImage> bad_images;
  bool stopping = false;

  PixelPool pool = PixelPool(options.pixel_memory);
  std::vector<std::thread> threads;

  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    work_came.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  void plan_ahead();
  void fill_window();
  std::unique_ptr<Slot> make_slot(int64_t step, const std::vector<int64_t>& image_indices) const;
  void run_thread(int number);
  void load(SampleReader& reader, const Task& task);
  tl::expected<void, SampleReader::Failure> read(SampleReader& reader, const Task& task);
  std::string key_of(int64_t image_index) const {
    const Image& image = dataset.images()[static_cast<size_t>(image_index)];
    return image_prefix + std::string(image.file_name);
  }
  Result<Batch> finish(std::unique_ptr<Slot> slot);
  void note_bad_image(const SampleReader::Failure& failure);
  Error too_many_bad_images() const;
};

std::unique_ptr<Slot> Loader::Impl::make_slot(int64_t step,
                                              const std::vector<int64_t>& image_indices) const {
  auto slot = std::make_unique<Slot>();
  slot->batch.step = step;
  const int64_t epoch = epoch_of(step);
  const auto images = static_cast<int64_t>(image_indices.size());
  const BatchShare share = share_of_batch(images, options.rank, options.world_size);
  for (int64_t i = 0; i < images; ++i) {
    Sample sample = planner.plan(image_indices[static_cast<size_t>(i)], epoch);
    slot->batch.height =
        std::max(slot->batch.height, padded(sample.resized.height, options.size_divisor));
    slot->batch.width =
        std::max(slot->batch.width, padded(sample.resized.width, options.size_divisor));
    if (i >= share.begin && i < share.end) slot->batch.samples.push_back(std::move(sample));
  }
  slot->failures.resize(slot->batch.samples.size());
  slot->unfinished = slot->batch.samples.size();
  return slot;
}

// Keeps so many steps planned that the store has what they need on its way long before: its own bound is
// in bytes, and the plan goes on over the end of an epoch.
void Loader::Impl::plan_ahead() {
  std::vector<std::string> keys;
  const auto enough = static_cast<size_t>(std::max(options.images_planned_ahead, 1));
  while (!plan_ended && planned_images < enough) {
    const auto image_indices = plan(next_step);
    if (!image_indices) {
      plan_ended = true;
      break;
    }
    planned.push_back(make_slot(next_step++, *image_indices));
    // An empty step counts, too, or a plan of nothing else would have no end.
    planned_images += std::max<size_t>(planned.back()->batch.samples.size(), 1);
    for (const Sample& sample : planned.back()->batch.samples) {
      keys.push_back(key_of(sample.image_index));
      for (const Paste& paste : sample.pastes) keys.push_back(key_of(paste.image_index));
    }
  }
  if (!keys.empty()) store.will_need(keys);
}

void Loader::Impl::fill_window() {
  plan_ahead();
  const auto limit = static_cast<size_t>(std::max(options.batches_ahead, 1));
  while (!planned.empty() && window.size() < limit) {
    window.push_back(std::move(planned.front()));
    planned.pop_front();
    const size_t images = window.back()->batch.samples.size();
    planned_images -= std::max<size_t>(images, 1);
    {
      const std::lock_guard lock(mutex);
      for (size_t i = 0; i < images; ++i) tasks.push_back({window.back().get(), i});
    }
    work_came.notify_all();
    plan_ahead();
  }
}

void Loader::Impl::run_thread(int number) {
  if (tracer != nullptr) tracer->name_thread(fmt::format("loader {}", number));
  SampleReader reader(dataset, store, image_prefix, options, tracer);
  std::unique_lock lock(mutex);
  while (true) {
    work_came.wait(lock, [&] { return stopping || !tasks.empty(); });
    if (stopping) return;
    const Task task = tasks.front();
    tasks.pop_front();
    lock.unlock();
    load(reader, task);
    lock.lock();
    if (--task.slot->unfinished == 0) sample_done.notify_one();
  }
}

// Nothing is thrown out of here: a thread has nobody to throw to.
void Loader::Impl::load(SampleReader& reader, const Task& task) {
  auto& failure = task.slot->failures[task.sample];
  const int64_t image_index = task.slot->batch.samples[task.sample].image_index;
  try {
    auto result = read(reader, task);
    if (!result) failure = std::move(result).error();
  } catch (const std::exception& exception) {
    failure = {image_index, Error{ErrorCode::kInternal, exception.what(), {}, {}}};
  } catch (...) {
    failure = {image_index, Error{ErrorCode::kInternal, "an unknown exception", {}, {}}};
  }
}

tl::expected<void, SampleReader::Failure> Loader::Impl::read(SampleReader& reader,
                                                             const Task& task) {
  Slot& slot = *task.slot;
  Sample& sample = slot.batch.samples[task.sample];
  const int64_t step = slot.batch.step;
  std::call_once(slot.have_pixels, [&] {
    slot.batch.pixels = pool.get(options.pixel_type, slot.plane_size() * slot.batch.samples.size());
  });
  if (options.train) {  // first, because they say where pictures are pasted
    const trace::Span span(tracer, "targets", step);
    add_targets(dataset, sample);
  }
  const size_t plane_bytes = slot.plane_size() * size_of(options.pixel_type);
  const PixelPlane plane = {options.pixel_type,
                            slot.batch.height,
                            slot.batch.width,
                            slot.batch.pixels.bytes().data() + task.sample * plane_bytes};
  return reader.read(sample, step, plane);
}

void Loader::Impl::note_bad_image(const SampleReader::Failure& failure) {
  if (!bad_indices.insert(failure.image_index).second) return;
  const std::string key = key_of(failure.image_index);
  std::string what = failure.error.to_string();
  // The store's errors name the key themselves.
  if (what.find(key) == std::string::npos) what = key + ": " + what;
  const std::lock_guard lock(mutex);
  const int64_t id = dataset.images()[static_cast<size_t>(failure.image_index)].id;
  bad_images.push_back({id, std::move(what)});
}

Error Loader::Impl::too_many_bad_images() const {
  const std::lock_guard lock(mutex);
  std::string list;
  for (const auto& image : bad_images) list += (list.empty() ? " " : "; ") + image.what;
  return {
      ErrorCode::kInvalidInput,
      fmt::format(
          "{} unreadable images, {} allowed:{}", bad_images.size(), options.max_bad_images, list),
      fmt::format("repair them, or raise {}", options.bad_limit_name),
      {}};
}

// Takes the samples that failed out of the batch, and closes the gaps.
Result<Batch> Loader::Impl::finish(std::unique_ptr<Slot> slot) {
  Batch& batch = slot->batch;
  const size_t plane_bytes = slot->plane_size() * size_of(options.pixel_type);
  size_t kept = 0;
  for (size_t i = 0; i < batch.samples.size(); ++i) {
    if (const auto& failure = slot->failures[i]) {
      if (!is_bad_image(failure->error)) {
        return tl::unexpected(
            Error(failure->error).with_context("loading " + key_of(failure->image_index)));
      }
      note_bad_image(*failure);
      continue;
    }
    if (kept != i) {
      const auto bytes = batch.pixels.bytes();
      std::ranges::copy(bytes.subspan(i * plane_bytes, plane_bytes),
                        bytes.begin() + static_cast<ptrdiff_t>(kept * plane_bytes));
      batch.samples[kept] = std::move(batch.samples[i]);
    }
    ++kept;
  }
  batch.samples.resize(kept);
  batch.pixels.shrink(kept * slot->plane_size());
  if (static_cast<int64_t>(bad_indices.size()) > options.max_bad_images) {
    return tl::unexpected(too_many_bad_images());
  }
  return std::move(batch);
}

Loader::Loader(const CocoDataset& dataset,
               storage::ObjectStore& store,
               std::string image_prefix,
               LoaderOptions options,
               BatchPlan plan,
               std::function<int64_t(int64_t step)> epoch_of,
               int64_t first_step,
               trace::Tracer* tracer)
    : impl_(new Impl{dataset,
                     store,
                     std::move(image_prefix),
                     std::move(options),
                     std::move(plan),
                     std::move(epoch_of),
                     tracer,
                     first_step}) {
  impl_->fill_window();
  for (int i = 0; i < std::max(impl_->options.threads, 1); ++i) {
    impl_->threads.emplace_back([impl = impl_.get(), i] { impl->run_thread(i); });
  }
}

Loader::~Loader() = default;

Result<std::optional<Batch>> Loader::next() {
  if (impl_->failure) return tl::unexpected(*impl_->failure);
  impl_->fill_window();
  if (impl_->window.empty()) return std::nullopt;
  {
    const trace::Span span(impl_->tracer, "wait for data", impl_->window.front()->batch.step);
    std::unique_lock lock(impl_->mutex);
    const Slot& due = *impl_->window.front();
    impl_->sample_done.wait(lock, [&] { return due.unfinished == 0; });
  }
  std::unique_ptr<Slot> slot = std::move(impl_->window.front());
  impl_->window.pop_front();
  auto batch = impl_->finish(std::move(slot));
  if (!batch) {
    impl_->failure = batch.error();
    return tl::unexpected(std::move(batch).error());
  }
  impl_->fill_window();
  return std::move(*batch);
}

std::vector<BadImage> Loader::bad_images() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->bad_images;
}

}  // namespace atl::dataset

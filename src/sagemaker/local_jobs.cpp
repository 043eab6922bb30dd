#include "sagemaker/local_jobs.h"

#include <fmt/format.h>
#include <signal.h>

#include <array>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/shell_word.h"
#include "storage/cache/process_identity.h"
#include "storage/local_store.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kRecordFile = "job.json";
// What is not DescribeTrainingJob's.
constexpr const char* kOwnMember = "Atoll";

std::string text_of(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

std::optional<storage::ProcessIdentity> runner_of(const LocalJob& job) {
  return storage::ProcessIdentity::parse(job.process);
}

}  // namespace

std::string job_command(std::string_view verb, const stdfs::path& root) {
  const stdfs::path job = stdfs::absolute(root).lexically_normal();
  const stdfs::path jobs = job.parent_path();
  std::string command = fmt::format("atoll job {} {}", verb, job.filename().string());
  if (jobs == stdfs::absolute(kJobsFolder).lexically_normal()) return command;
  return fmt::format("{} --jobs {}", command, shell_word(jobs.string()));
}

Result<void> write_local_job(const stdfs::path& root, const LocalJob& job) {
  Json json = to_json(job.record);
  json[kOwnMember] = {{"Process", job.process}, {"Output", job.output}, {"Hosts", job.hosts}};
  storage::LocalStore store(root.string());
  return storage::put_text(
      store, kRecordFile, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Result<std::optional<LocalJob>> read_local_job(const stdfs::path& root) {
  storage::LocalStore store(root.string());
  const auto text = store.get(kRecordFile);
  if (!text && text.error().code == ErrorCode::kNotFound) return std::optional<LocalJob>();
  if (!text) return tl::unexpected(text.error());
  const Json json = Json::parse(text->text(), nullptr, /*allow_exceptions=*/false);
  const std::string file = (root / kRecordFile).string();
  LocalJob job;
  job.record = ATOLL_TRY_CONTEXT(parse_job_record(json), file);
  if (const auto own = json.find(kOwnMember); own != json.end() && own->is_object()) {
    job.process = text_of(*own, "Process");
    job.output = text_of(*own, "Output");
    job.hosts = own->value("Hosts", Json(0)).is_number_integer() ? own->value("Hosts", 0) : 0;
  }
  const auto runner = runner_of(job);
  const bool is_dead =
      !runner || storage::is_alive(*runner, storage::this_process()) == storage::Alive::kNo;
  if (!job.record.has_ended() && is_dead) {
    job.record.status = "Failed";
    job.record.secondary = "Failed";
    job.record.failure_reason =
        "the process that ran the job has died; the checkpoints, where they have a place, are "
        "there";
  }
  return std::optional<LocalJob>(std::move(job));
}

Result<void> stop_local_job(const LocalJob& job) {
  const auto runner = runner_of(job);
  const auto alive =
      runner ? storage::is_alive(*runner, storage::this_process()) : storage::Alive::kNo;
  if (job.record.has_ended() || alive != storage::Alive::kYes) {
    return fail(ErrorCode::kNotFound,
                fmt::format("the job {} does not run {}",
                            job.record.name,
                            alive == storage::Alive::kUnknown ? "on this machine" : "any more"));
  }
  if (::kill(static_cast<pid_t>(runner->pid), SIGTERM) != 0) {
    return fail_errno(fmt::format("stopping the job {}", job.record.name), errno);
  }
  return {};
}

Result<std::string> upload_archives(const stdfs::path& root,
                                    const LocalJob& job,
                                    const OpenStore& open_store,
                                    const std::string& to) {
  const std::string& output = to.empty() ? job.output : to;
  const stdfs::path folder = root / "output";
  storage::LocalStore archives(folder.string());
  std::string model;
  for (const char* name : {"model.tar.gz", "output.tar.gz", "model.tar", "output.tar"}) {
    auto archive = archives.get(name);
    if (!archive && archive.error().code == ErrorCode::kNotFound) continue;
    if (!archive) return tl::unexpected(std::move(archive).error());
    const bool is_model = std::string_view(name).starts_with("model");
    if (output.empty()) {
      if (is_model) model = (folder / name).string();
      continue;
    }
    const std::string key = fmt::format("{}/output/{}", job.record.name, name);
    const std::array<std::span<const std::byte>, 1> parts = {archive->bytes()};
    auto store = open_store(output);
    auto put = store ? (*store)->put(key, parts) : tl::unexpected(store.error());
    if (!put) {
      Error error = std::move(put).error();
      error.hint = fmt::format("{}{}it stays in {}: try again with \"{}{}\"",
                               error.hint,
                               error.hint.empty() ? "" : "; ",
                               (folder / name).string(),
                               job_command("upload", root),
                               to.empty() ? "" : " --to " + shell_word(to));
      return tl::unexpected(std::move(error).with_context(fmt::format("uploading {}", name)));
    }
    if (is_model) {
      std::string base = output;
      while (base.ends_with('/')) base.pop_back();
      model = fmt::format("{}/{}", base, key);
    }
  }
  return model;
}

}  // namespace atl::sagemaker

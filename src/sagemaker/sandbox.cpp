#include "sagemaker/sandbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "aws/service.h"
#include "storage/local_store.h"

namespace atl::sagemaker {
namespace {

namespace stdfs = std::filesystem;
using Json = nlohmann::json;

constexpr std::string_view kMl = "/opt/ml";

Result<void> make_folder(const stdfs::path& folder) {
  std::error_code error;
  stdfs::create_directories(folder, error);
  if (error) return fail_errno(fmt::format("making {}", folder.string()), error.value());
  return {};
}

Json hyperparameters_of(const JobFile& job) {
  Json json = Json::object();
  for (const auto& [name, value] : job.hyperparameters) json[name] = value;
  for (const JobChannel& channel : job.channels) {
    if (channel.mode == DataMode::kInPlace) json["data.path"] = channel.local_source();
  }
  return json;
}

Json input_data_config_of(const JobFile& job) {
  Json json = Json::object();
  for (const JobChannel& channel : job.channels) {
    if (channel.mode == DataMode::kInPlace) continue;
    Json entry = {{"TrainingInputMode", name_of(channel.mode)},
                  {"S3DistributionType", channel.sharded ? "ShardedByS3Key" : "FullyReplicated"},
                  {"RecordWrapperType", "None"}};
    if (!channel.content_type.empty()) entry["ContentType"] = channel.content_type;
    json[channel.name] = std::move(entry);
  }
  return json;
}

Json resource_config_of(const Sandbox& sandbox, size_t host, const JobFile& job) {
  const std::string type = job.instances.type.empty() ? "local" : job.instances.type;
  Json names = Json::array();
  for (const SandboxHost& each : sandbox.hosts) names.push_back(each.address);
  return {{"current_group_name", "homogeneousCluster"},
          {"current_host", sandbox.hosts[host].address},
          {"current_instance_type", type},
          {"hosts", names},
          {"instance_groups",
           Json::array({{{"hosts", names},
                         {"instance_group_name", "homogeneousCluster"},
                         {"instance_type", type}}})},
          {"network_interface_name", "lo"},
          {"topology", nullptr}};
}

Result<void> write_json(const stdfs::path& folder, const char* name, const Json& json) {
  storage::LocalStore store(folder.string());
  return storage::put_text(
      store, name, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

// A name, or the beginning of names that end in '*'.
bool is_inherited(std::string_view name) {
  static constexpr auto kNames =
      std::to_array<std::string_view>({"PATH",          "HOME",
                                       "USER",          "LANG",
                                       "LC_*",          "TZ",
                                       "TMPDIR",        "LD_LIBRARY_PATH",
                                       "AWS_*",         "ATOLL_*",
                                       "CUDA_*",        "NVIDIA_*",
                                       "OMP_*",         "GOMP_*",
                                       "KMP_*",         "MKL_*",
                                       "TORCH_*",       "XDG_CACHE_HOME",
                                       "http_proxy",    "https_proxy",
                                       "no_proxy",      "HTTP_PROXY",
                                       "HTTPS_PROXY",   "NO_PROXY",
                                       "SSL_CERT_FILE", "SSL_CERT_DIR",
                                       "ASAN_OPTIONS",  "UBSAN_OPTIONS",
                                       "TSAN_OPTIONS",  "LSAN_OPTIONS"});
  // A launcher that has started us is none of the job's, and the root is the host's.
  if (name == "ATOLL_LAUNCHED" || name == "ATOLL_SAGEMAKER_ROOT") return false;
  return std::ranges::any_of(kNames, [name](std::string_view known) {
    if (!known.ends_with('*')) return known == name;
    return name.starts_with(known.substr(0, known.size() - 1));
  });
}

}  // namespace

Sandbox Sandbox::at(const stdfs::path& root, size_t hosts) {
  Sandbox sandbox;
  sandbox.root = stdfs::absolute(root).lexically_normal();
  for (size_t i = 1; i <= hosts; ++i) {
    const std::string name = fmt::format("algo-{}", i);
    sandbox.hosts.push_back(
        {name, fmt::format("127.0.0.{}", i), sandbox.root / name / kMl.substr(1)});
  }
  return sandbox;
}

stdfs::path Sandbox::shard(std::string_view name, size_t host) const {
  return root / "channels" / fmt::format("{}-{}", name, hosts[host].name);
}

stdfs::path Sandbox::log(size_t host) const {
  return root / "logs" / fmt::format("{}.log", hosts[host].name);
}

stdfs::path checkpoint_folder(const SandboxHost& host, const JobFile& job) {
  std::string_view path = job.checkpoints.path;
  if (path.empty()) return host.ml / "checkpoints";
  path.remove_prefix(std::min(path.size(), kMl.size()));
  while (path.starts_with('/')) path.remove_prefix(1);
  return host.ml / path;
}

Result<void> empty_sandbox(const Sandbox& sandbox) {
  std::vector<stdfs::path> old;
  for (const char* name : {"channels", "output", "logs"}) old.push_back(sandbox.root / name);
  std::error_code error;
  for (stdfs::directory_iterator entry(sandbox.root, error);
       !error && entry != stdfs::directory_iterator();
       entry.increment(error)) {
    if (entry->path().filename().string().starts_with("algo-")) old.push_back(entry->path());
  }
  if (error) return fail_errno(sandbox.root.string(), error.value());
  for (const stdfs::path& folder : old) {
    stdfs::remove_all(folder, error);
    if (!error) continue;
    auto failure = fail_errno(fmt::format("emptying {}", folder.string()), error.value());
    if (folder.filename() == "channels") {
      failure.value().hint =
          fmt::format("a bucket that an earlier job has mounted? \"atoll fs umount {}/CHANNEL\"",
                      folder.string());
    }
    return failure;
  }
  for (const char* name : {"channels", "output", "logs"}) {
    ATOLL_TRY(make_folder(sandbox.root / name));
  }
  return {};
}

Result<void> make_host(const Sandbox& sandbox, size_t host, const JobFile& job) {
  const SandboxHost& it = sandbox.hosts[host];
  std::error_code error;
  stdfs::remove_all(it.ml, error);
  if (error) return fail_errno(fmt::format("emptying {}", it.ml.string()), error.value());
  for (const char* folder : {"input/config", "input/data", "model", "output/data"}) {
    ATOLL_TRY(make_folder(it.ml / folder));
  }
  ATOLL_TRY(make_folder(checkpoint_folder(it, job)));
  const stdfs::path config = it.ml / "input/config";
  ATOLL_TRY(write_json(config, "hyperparameters.json", hyperparameters_of(job)));
  ATOLL_TRY(write_json(config, "inputdataconfig.json", input_data_config_of(job)));
  return write_json(config, "resourceconfig.json", resource_config_of(sandbox, host, job));
}

std::vector<std::string> host_environment(const std::vector<std::string>& inherited,
                                          const JobFile& job,
                                          const SandboxHost& host,
                                          const std::string& region,
                                          const std::string& arn) {
  std::map<std::string, std::string> variables;
  for (const std::string& entry : inherited) {
    const size_t equals = entry.find('=');
    if (equals == std::string::npos || !is_inherited(entry.substr(0, equals))) continue;
    variables.insert_or_assign(entry.substr(0, equals), entry.substr(equals + 1));
  }
  for (const auto& [name, value] : job.environment) variables.insert_or_assign(name, value);
  variables["TRAINING_JOB_NAME"] = job.name;
  variables["TRAINING_JOB_ARN"] = arn;
  if (!region.empty()) variables["AWS_REGION"] = region;
  variables["ATOLL_SAGEMAKER_ROOT"] = host.ml.string();
  std::vector<std::string> environment;
  environment.reserve(variables.size());
  for (const auto& [name, value] : variables) {
    environment.push_back(fmt::format("{}={}", name, value));
  }
  return environment;
}

void share_accelerators(std::vector<std::string>& environment,
                        int accelerators,
                        size_t hosts,
                        size_t host) {
  const size_t each = static_cast<size_t>(std::max(accelerators, 0)) / hosts;
  if (hosts == 1 || accelerators <= 0) return;
  constexpr std::string_view kName = "CUDA_VISIBLE_DEVICES=";
  std::vector<std::string> devices;
  const auto given = std::ranges::find_if(
      environment, [&](const std::string& entry) { return entry.starts_with(kName); });
  if (given != environment.end()) {
    std::stringstream list(given->substr(kName.size()));
    for (std::string device; std::getline(list, device, ',');) devices.push_back(device);
    environment.erase(given);
  } else {
    for (int i = 0; i < accelerators; ++i) devices.push_back(std::to_string(i));
  }
  std::string own(kName);
  for (size_t i = host * each; i < std::min(devices.size(), (host + 1) * each); ++i) {
    if (!own.ends_with('=')) own += ',';
    own += devices[i];
  }
  environment.push_back(std::move(own));
}

std::string local_arn(const std::string& region, const std::string& name) {
  return fmt::format("arn:{}:sagemaker:{}:000000000000:training-job/{}",
                     aws::partition_of(region),
                     region.empty() ? "local" : region,
                     name);
}

}  // namespace atl::sagemaker

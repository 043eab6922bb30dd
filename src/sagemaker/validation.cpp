#include "sagemaker/validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "aws/ids.h"

namespace atl::sagemaker {
namespace {

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_made_of(std::string_view text, std::string_view more) {
  return std::ranges::all_of(text, [more](char c) {
    return is_letter_or_digit(c) || more.find(c) != std::string_view::npos;
  });
}

// UTF-8's characters, as the service counts them.
size_t length_of(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(
      text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

bool is_s3(std::string_view uri) { return uri.starts_with("s3://"); }

class Checker {
 public:
  explicit Checker(const JobFile& job) : job_(job) {}
  Problems take() { return std::move(problems_); }

  void name() {
    if (aws::is_training_job_name(job_.name)) return;
    say("name = \"{}\" must be 1 to 63 letters, digits and '-', with a letter or digit at both "
        "ends",
        job_.name);
  }

  void request_basics() {
    if (job_.image.empty() || job_.image.size() > 255) {
      say("image must name a container image in ECR, of at most 255 characters: "
          "\"123456789012.dkr.ecr.eu-central-1.amazonaws.com/atoll:1\"");
    } else if (!is_made_of(job_.image, "-._:/@")) {
      say("image = \"{}\" is no image's name", job_.image);
    }
    if (!aws::is_role_arn(job_.role)) {
      say("role = \"{}\" must be a role's ARN: \"arn:aws:iam::123456789012:role/NAME\"", job_.role);
    }
    range("retries", job_.retries, 0, 30);
  }

  void instances() {
    const auto& instances = job_.instances;
    if (!instances.type.starts_with("ml.") || instances.type.find('.', 3) == std::string::npos ||
        !is_made_of(instances.type, ".-")) {
      say("instances.type = \"{}\" must be one of SageMaker's types for training, such as "
          "\"ml.p4d.24xlarge\"",
          instances.type);
    }
    range("instances.volume_gb", instances.volume_gb, 1, 16384);
    range("instances.keep_alive_s", instances.keep_alive_s, 0, 21600);
    if (instances.keep_alive_s > 0 && job_.spot.enabled) {
      say("instances.keep_alive_s and spot.enabled exclude each other");
    }
  }

  void count(int64_t most) { range("instances.count", job_.instances.count, 1, most); }

  void channels(bool here) {
    constexpr size_t kMostChannels = 20;
    if (job_.channels.size() > kMostChannels) {
      say("channels: there are {}, and at most {} can be", job_.channels.size(), kMostChannels);
    }
    size_t in_place = 0;
    for (const JobChannel& channel : job_.channels) {
      const std::string key = fmt::format("channels.{}", channel.name);
      if (channel.name.empty() || channel.name.size() > 64 || !is_made_of(channel.name, ".-_") ||
          channel.name == "." || channel.name == "..") {
        say("{}: a channel's name is 1 to 64 letters, digits, '.', '-' and '_'", key);
      }
      in_place += channel.mode == DataMode::kInPlace ? 1 : 0;
      if (here) {
        local_channel(channel, key);
      } else {
        requested_channel(channel, key);
      }
    }
    if (in_place > 1) say("channels: only one can have mode = \"InPlace\", for data.path");
    if (in_place > 0 && job_.hyperparameters.contains("data.path")) {
      say("hyperparameters: data.path is there, and a channel with mode = \"InPlace\" sets it, "
          "too");
    }
  }

  void hyperparameters() { limited("hyperparameters", job_.hyperparameters, 100, 256, 2500); }

  void environment() {
    limited("environment", job_.environment, 100, 512, 512);
    for (const auto& [name, value] : job_.environment) {
      if (name.empty() || (name[0] >= '0' && name[0] <= '9') || !is_made_of(name, "_")) {
        say("environment.{}: a variable's name is letters, digits and '_', no digit first", name);
      }
    }
  }

  void tags() {
    limited("tags", job_.tags, 50, 128, 256);
    for (const auto& [name, value] : job_.tags) {
      if (name.empty()) say("tags: a tag's name cannot be empty");
      if (name.starts_with("aws:")) say("tags.{}: names that begin with aws: are AWS's own", name);
    }
  }

  void places() {
    place("output.uri", job_.output.uri, true);
    place("checkpoints.uri", job_.checkpoints.uri, false);
    place("profiler.uri", job_.profiler.uri, false);
    key_name("output.kms_key", job_.output.kms_key);
    if (!job_.checkpoints.path.empty() && job_.checkpoints.uri.empty()) {
      say("checkpoints.path is there without checkpoints.uri");
    }
    const std::string& path = job_.checkpoints.path;
    if (!path.empty() && (path[0] != '/' || path.size() > 4096)) {
      say("checkpoints.path = \"{}\" must begin with '/'", path);
    }
    const int64_t interval = job_.profiler.interval_ms;
    constexpr std::array<int64_t, 7> kIntervals = {0, 100, 200, 500, 1000, 5000, 60000};
    if (std::ranges::find(kIntervals, interval) == kIntervals.end()) {
      say("profiler.interval_ms = {} must be 100, 200, 500, 1000, 5000 or 60000", interval);
    }
    if (job_.profiler.enabled && interval > 0 && job_.profiler.uri.empty()) {
      say("profiler.interval_ms is there without profiler.uri");
    }
  }

  void local_checkpoint_path() {
    const std::string& path = job_.checkpoints.path;
    if (path.empty()) return;
    if (!path.starts_with("/opt/ml/") || path.find("..") != std::string::npos) {
      say("checkpoints.path = \"{}\" must be below /opt/ml for a job on this machine", path);
    }
  }

  void stopping() {
    const int64_t runtime = job_.stopping.max_runtime_s;
    constexpr int64_t kMostDays_s = int64_t{28} * 86400;
    range("stopping.max_runtime_s", runtime, 1, kMostDays_s);
    if (job_.stopping.max_pending_s != 0) {
      range("stopping.max_pending_s", job_.stopping.max_pending_s, 1800, 2'419'200);
    }
    const int64_t wait = job_.spot.max_wait_s;
    if (wait != 0 && !job_.spot.enabled) {
      say("spot.max_wait_s is there without spot.enabled = true");
    }
    if (job_.spot.enabled && wait != 0 && wait < runtime) {
      say("spot.max_wait_s = {} must be at least stopping.max_runtime_s, {}", wait, runtime);
    }
  }

  void vpc() {
    const auto& vpc = job_.vpc;
    const bool any = !vpc.subnets.empty() || !vpc.security_groups.empty();
    if (any && (vpc.subnets.empty() || vpc.subnets.size() > 16)) {
      say("vpc.subnets must be 1 to 16 ids, and is {}", vpc.subnets.size());
    }
    if (any && (vpc.security_groups.empty() || vpc.security_groups.size() > 5)) {
      say("vpc.security_groups must be 1 to 5 ids, and is {}", vpc.security_groups.size());
    }
    for (const std::string& id : vpc.subnets) {
      if (aws::is_subnet_id(id)) continue;
      say("vpc.subnets: \"{}\" must be subnet- and 8 to 18 hexadecimal digits", id);
    }
    for (const std::string& id : vpc.security_groups) {
      if (aws::is_security_group_id(id)) continue;
      say("vpc.security_groups: \"{}\" must be sg- and 8 to 18 hexadecimal digits", id);
    }
    for (const JobChannel& channel : job_.channels) {
      if (channel.file_system && !any) {
        say("channels.{}: a file system is reached from within its VPC: vpc.subnets and "
            "vpc.security_groups are needed",
            channel.name);
      }
      if (channel.mode == DataMode::kInPlace && vpc.isolate) {
        say("channels.{}.mode = \"InPlace\" needs the network that vpc.isolate takes away",
            channel.name);
      }
    }
  }

 private:
  template <typename... Values>
  void say(fmt::format_string<Values...> format, Values&&... values) {
    problems_.push_back(fmt::format(format, std::forward<Values>(values)...));
  }

  void range(std::string_view key, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most) {
      say("{} = {} must be {} to {}", key, value, least, most);
    }
  }

  void limited(std::string_view section,
               const std::map<std::string, std::string>& map,
               size_t most,
               size_t key_length,
               size_t value_length) {
    if (map.size() > most)
      say("{}: there are {}, and at most {} can be", section, map.size(), most);
    for (const auto& [name, value] : map) {
      const auto shown = name.substr(0, 60);
      if (length_of(name) > key_length) {
        say("{}.{}…: the name has {} characters, at most {} can be",
            section,
            shown,
            length_of(name),
            key_length);
      }
      if (length_of(value) > value_length) {
        say("{}.{}: the value has {} characters, at most {} can be",
            section,
            shown,
            length_of(value),
            value_length);
      }
    }
  }

  void place(std::string_view key, const std::string& uri, bool needed) {
    constexpr size_t kLongest = 1024;
    if (uri.empty() && !needed) return;
    if (!is_s3(uri) || uri.size() > kLongest || uri.substr(5).empty() || uri[5] == '/') {
      say("{} = \"{}\" must be s3://BUCKET/PREFIX, of at most {} characters", key, uri, kLongest);
    }
  }

  void key_name(std::string_view key, const std::string& kms_key) {
    if (kms_key.size() > 2048 || !is_made_of(kms_key, ":/_-")) {
      say("{} = \"{}\" must be a KMS key's id, alias or ARN", key, kms_key);
    }
  }

  void requested_channel(const JobChannel& channel, const std::string& key) {
    if (channel.content_type.size() > 256) {
      say("{}.content_type must have at most 256 characters", key);
    }
    if (channel.file_system) {
      file_system(channel, key);
      return;
    }
    place(fmt::format("{}.uri", key), channel.uri, true);
    if (channel.sharded && channel.mode == DataMode::kInPlace) {
      say("{}.sharded and mode = \"InPlace\" exclude each other: Atoll's sampler parts the data",
          key);
    }
  }

  void file_system(const JobChannel& channel, const std::string& key) {
    const FileSystemSource& source = *channel.file_system;
    const std::string_view kind = source.is_lustre ? "fsx" : "efs";
    if (!aws::is_file_system_id(source.id)) {
      say("{}.{} = \"{}\" must be fs- and 8 to 18 hexadecimal digits", key, kind, source.id);
    }
    if (source.access != "ro" && source.access != "rw") {
      say("{}.access = \"{}\" must be \"ro\" or \"rw\"", key, source.access);
    }
    if (channel.mode != DataMode::kFile) {
      say("{}.mode = \"{}\" must be \"File\" for a file system", key, name_of(channel.mode));
    }
    if (channel.sharded) say("{}.sharded is for S3: a file system is everyone's", key);
    const std::string& path = source.directory;
    if (!path.starts_with('/') || path.size() > 4096) {
      say("{}.directory = \"{}\" must begin with '/'", key, path);
      return;
    }
    if (!source.is_lustre) return;
    const std::string_view mount_name = std::string_view(path).substr(1, path.find('/', 1) - 1);
    // "/mnt/fsx/coco" is where somebody has mounted it.
    const bool is_one =
        mount_name == "fsx" || (mount_name.size() == 8 && is_made_of(mount_name, ""));
    if (!is_one) {
      say("{}.directory = \"{}\" must be /MOUNTNAME/PREFIX; the file system's mount name is eight "
          "letters and digits, or fsx: aws fsx describe-file-systems shows it",
          key,
          path);
    }
  }

  void local_channel(const JobChannel& channel, const std::string& key) {
    if (channel.local_source().empty()) {
      say("{}.{}",
          key,
          channel.file_system ? "local must name what stands for the file system here: where it is "
                                "mounted, a folder, or s3://BUCKET/PREFIX"
                              : "uri is missing");
      return;
    }
    if (channel.mode == DataMode::kFastFile && !is_s3(channel.local_source())) {
      say("{}.mode = \"FastFile\" mounts a bucket, and {} is none", key, channel.local_source());
    }
  }

  const JobFile& job_;
  Problems problems_;
};

}  // namespace

Problems problems_of_request(const JobFile& job) {
  // The API has no bound; no quota is near this.
  constexpr int64_t kMostInstances = 10'000;
  Checker checker(job);
  checker.name();
  checker.request_basics();
  checker.instances();
  checker.count(kMostInstances);
  checker.channels(/*here=*/false);
  checker.hyperparameters();
  checker.places();
  checker.stopping();
  checker.environment();
  checker.vpc();
  checker.tags();
  return checker.take();
}

Problems problems_of_local_run(const JobFile& job) {
  constexpr int64_t kMostHosts = 64;
  Checker checker(job);
  checker.name();
  checker.count(kMostHosts);
  checker.channels(/*here=*/true);
  checker.hyperparameters();
  checker.local_checkpoint_path();
  checker.stopping();
  checker.environment();
  return checker.take();
}

}  // namespace atl::sagemaker

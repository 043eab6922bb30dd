#include "sagemaker/request.h"

namespace atl::sagemaker {
namespace {

using Json = nlohmann::json;

void set_text(Json& object, const char* name, const std::string& text) {
  if (!text.empty()) object[name] = text;
}

void set_number(Json& object, const char* name, int64_t number) {
  if (number != 0) object[name] = number;
}

Json channel_of(const JobChannel& channel) {
  Json json = {{"ChannelName", channel.name}};
  if (channel.file_system) {
    const FileSystemSource& source = *channel.file_system;
    json["DataSource"]["FileSystemDataSource"] = {
        {"FileSystemId", source.id},
        {"FileSystemType", source.is_lustre ? "FSxLustre" : "EFS"},
        {"FileSystemAccessMode", source.access},
        {"DirectoryPath", source.directory}};
  } else {
    json["DataSource"]["S3DataSource"] = {
        {"S3DataType", "S3Prefix"},
        {"S3Uri", channel.uri},
        {"S3DataDistributionType", channel.sharded ? "ShardedByS3Key" : "FullyReplicated"}};
  }
  json["InputMode"] = name_of(channel.mode);
  set_text(json, "ContentType", channel.content_type);
  return json;
}

Json algorithm_of(const JobFile& job, std::span<const MetricDefinition> metrics) {
  Json algorithm = {{"TrainingImage", job.image}, {"TrainingInputMode", "File"}};
  for (const MetricDefinition& metric : metrics) {
    algorithm["MetricDefinitions"].push_back({{"Name", metric.name}, {"Regex", metric.regex}});
  }
  return algorithm;
}

Json stopping_of(const JobFile& job) {
  Json stopping = {{"MaxRuntimeInSeconds", job.stopping.max_runtime_s}};
  set_number(stopping, "MaxPendingTimeInSeconds", job.stopping.max_pending_s);
  if (job.spot.enabled) {
    stopping["MaxWaitTimeInSeconds"] =
        job.spot.max_wait_s != 0 ? job.spot.max_wait_s : job.stopping.max_runtime_s;
  }
  return stopping;
}

void set_places(Json& request, const JobFile& job) {
  Json output = {{"S3OutputPath", job.output.uri}};
  set_text(output, "KmsKeyId", job.output.kms_key);
  if (!job.output.compressed) output["CompressionType"] = "NONE";
  request["OutputDataConfig"] = std::move(output);
  if (!job.checkpoints.uri.empty()) {
    Json checkpoints = {{"S3Uri", job.checkpoints.uri}};
    set_text(checkpoints, "LocalPath", job.checkpoints.path);
    request["CheckpointConfig"] = std::move(checkpoints);
  }
  if (!job.profiler.enabled) {
    request["ProfilerConfig"] = {{"DisableProfiler", true}};
  } else if (!job.profiler.uri.empty()) {
    Json profiler = {{"S3OutputPath", job.profiler.uri}};
    set_number(profiler, "ProfilingIntervalInMilliseconds", job.profiler.interval_ms);
    request["ProfilerConfig"] = std::move(profiler);
  }
}

void set_network(Json& request, const JobFile& job) {
  if (!job.vpc.subnets.empty()) {
    request["VpcConfig"] = {{"SecurityGroupIds", job.vpc.security_groups},
                            {"Subnets", job.vpc.subnets}};
  }
  if (job.vpc.encrypt_traffic) request["EnableInterContainerTrafficEncryption"] = true;
  if (job.vpc.isolate) request["EnableNetworkIsolation"] = true;
}

}  // namespace

Json training_job_request(const JobFile& job, std::span<const MetricDefinition> metrics) {
  Json request = {{"TrainingJobName", job.name},
                  {"RoleArn", job.role},
                  {"AlgorithmSpecification", algorithm_of(job, metrics)},
                  {"StoppingCondition", stopping_of(job)}};
  Json resources = {{"InstanceType", job.instances.type},
                    {"InstanceCount", job.instances.count},
                    {"VolumeSizeInGB", job.instances.volume_gb}};
  set_number(resources, "KeepAlivePeriodInSeconds", job.instances.keep_alive_s);
  request["ResourceConfig"] = std::move(resources);
  auto hyperparameters = job.hyperparameters;
  for (const JobChannel& channel : job.channels) {
    if (channel.mode == DataMode::kInPlace) {
      hyperparameters["data.path"] = channel.uri;
    } else {
      request["InputDataConfig"].push_back(channel_of(channel));
    }
  }
  if (!hyperparameters.empty()) request["HyperParameters"] = std::move(hyperparameters);
  set_places(request, job);
  set_network(request, job);
  if (job.spot.enabled) request["EnableManagedSpotTraining"] = true;
  if (job.retries > 0) request["RetryStrategy"] = {{"MaximumRetryAttempts", job.retries}};
  if (!job.environment.empty()) request["Environment"] = job.environment;
  for (const auto& [name, value] : job.tags) {
    request["Tags"].push_back({{"Key", name}, {"Value", value}});
  }
  return request;
}

}  // namespace atl::sagemaker

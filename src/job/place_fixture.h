// For tests: the surroundings of a launcher as literals, as it really sets them.
#pragma once

#include <gmock/gmock.h>

#include <map>
#include <string>

#include "job/place.h"

namespace atl::job {

struct Surroundings {
  std::map<std::string, std::string> variables;
  std::map<std::string, std::string> files;
  int accelerators = 0;

  PlaceSources sources() const {
    PlaceSources sources;
    sources.variable = [this](std::string_view name) -> std::optional<std::string> {
      const auto found = variables.find(std::string(name));
      if (found == variables.end()) return std::nullopt;
      return found->second;
    };
    sources.read_file = [this](const std::string& path) -> Result<std::string> {
      const auto found = files.find(path);
      if (found == files.end()) return fail(ErrorCode::kNotFound, path);
      return found->second;
    };
    sources.accelerators = accelerators;
    sources.host = "thishost";
    return sources;
  }
  Result<Place> find(const PlaceFlags& flags = {}) const { return find_place(flags, sources()); }
  Surroundings with(const std::string& name, const std::string& value) const {
    Surroundings changed = *this;
    changed.variables[name] = value;
    return changed;
  }
  Surroundings without(const std::string& name) const {
    Surroundings changed = *this;
    changed.variables.erase(name);
    return changed;
  }
};

inline constexpr const char* kResourceConfig = "/opt/ml/input/config/resourceconfig.json";

inline const Surroundings kTwoSageMakerHosts{
    {{"TRAINING_JOB_NAME", "coco-2026-11-26"}},
    {{kResourceConfig,
      R"({"current_group_name":"homogeneousCluster","current_host":"algo-2",
          "current_instance_type":"ml.p4d.24xlarge","hosts":["algo-2","algo-1"],
          "instance_groups":[{"hosts":["algo-2","algo-1"],"instance_group_name":"homogeneousCluster",
          "instance_type":"ml.p4d.24xlarge"}],"network_interface_name":"eth0","topology":null})"}},
    8};

// torchrun --nnodes 2 --nproc-per-node 2, the second process of the second host.
inline const Surroundings kTorchrun{
    {{"RANK", "3"},
     {"LOCAL_RANK", "1"},
     {"GROUP_RANK", "1"},
     {"ROLE_RANK", "3"},
     {"ROLE_NAME", "default"},
     {"LOCAL_WORLD_SIZE", "2"},
     {"WORLD_SIZE", "4"},
     {"GROUP_WORLD_SIZE", "2"},
     {"ROLE_WORLD_SIZE", "4"},
     {"MASTER_ADDR", "gpu01"},
     {"MASTER_PORT", "33707"},
     {"TORCHELASTIC_RESTART_COUNT", "0"},
     {"TORCHELASTIC_MAX_RESTARTS", "0"},
     {"TORCHELASTIC_RUN_ID", "82cc045e-a1d1-42cf-959f-0abe79084961"},
     {"OMP_NUM_THREADS", "1"}},
    {}};

// A worker's pod of Kubeflow's PyTorchJob, training operator 1.7.
inline const Surroundings kKubeflow{{{"PYTHONUNBUFFERED", "1"},
                                     {"MASTER_PORT", "23456"},
                                     {"PET_MASTER_PORT", "23456"},
                                     {"MASTER_ADDR", "demo-master-0"},
                                     {"PET_MASTER_ADDR", "demo-master-0"},
                                     {"WORLD_SIZE", "16"},
                                     {"RANK", "1"},
                                     {"PET_NPROC_PER_NODE", "auto"},
                                     {"PET_NODE_RANK", "1"},
                                     {"PET_NNODES", "2"}},
                                    {},
                                    8};

// examples/pytorch/cnn-mnist of JobSet, and the number of pods.
inline const Surroundings kJobSet{{{"JOB_COMPLETION_INDEX", "3"},
                                   {"MASTER_ADDR", "pytorch-workers-0-0.pytorch"},
                                   {"MASTER_PORT", "3389"},
                                   {"RANK", "3"},
                                   {"WORLD_SIZE", "4"}},
                                  {}};

inline std::string error_of(const Result<Place>& place) {
  return place ? "no error: " + place->source : place.error().to_string();
}

}  // namespace atl::job

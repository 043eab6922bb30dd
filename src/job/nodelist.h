// Slurm's compressed lists. Source: "Hostlist Expressions" of slurm.conf(5) and scontrol(1).
//
// Both come from outside, and a few bytes can stand for any number of hosts; more than kMaxNodes are refused before
// they are made. Errors: kInvalidInput, beginning with what is wrong and where; the caller adds which variable it was.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace atl::job {

// "gpu[001-003,7],login", "r[1-2]n[01-04]-ib": the hosts in the order of the list; a name's last bracket turns fastest.
// Leading zeros are kept.
Result<std::vector<std::string>> expand_nodelist(std::string_view text);

// "2(x3),1" of SLURM_STEP_TASKS_PER_NODE is {2, 2, 2, 1}.
Result<std::vector<int>> expand_tasks_per_node(std::string_view text);

}  // namespace atl::job

// What the names of AWS's things look like: the one judge of those in a job's file and on the command line.
//
// Source: the services' API references. Ids have had 8 hexadecimal digits, and since 2016 have 17.
#pragma once

#include <string_view>

namespace atl::aws {

// 8 to 18 hexadecimal digits, as below.
bool is_subnet_id(std::string_view text);          // subnet-0123456789abcdef0
bool is_security_group_id(std::string_view text);  // sg-0123456789abcdef0
bool is_file_system_id(std::string_view text);     // fs-0123456789abcdef0, of FSx and of EFS

// arn:aws:iam::123456789012:role/NAME, of any partition, with or without a path before the name.
bool is_role_arn(std::string_view text);
// The name alone.
bool is_role_name(std::string_view text);

// Of a training job: 1 to 63 letters, digits and '-', not at the ends.
bool is_training_job_name(std::string_view text);

}  // namespace atl::aws

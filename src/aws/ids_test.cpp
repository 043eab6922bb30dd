#include "aws/ids.h"

#include <gtest/gtest.h>

#include <string>

namespace atl::aws {
namespace {

TEST(Ids, are_a_prefix_and_8_to_18_hexadecimal_digits) {
  for (const char* digits : {"0a1b2c3d", "0123456789abcdef0", "0123456789abcdef01"}) {
    EXPECT_TRUE(is_subnet_id(std::string("subnet-") + digits)) << digits;
    EXPECT_TRUE(is_security_group_id(std::string("sg-") + digits)) << digits;
    EXPECT_TRUE(is_file_system_id(std::string("fs-") + digits)) << digits;
  }
  for (const char* digits : {"", "1", "0a1b2c3", "0A1B2C3D", "0a1b2c3g", "0123456789abcdef012"}) {
    EXPECT_FALSE(is_subnet_id(std::string("subnet-") + digits)) << digits;
    EXPECT_FALSE(is_security_group_id(std::string("sg-") + digits)) << digits;
    EXPECT_FALSE(is_file_system_id(std::string("fs-") + digits)) << digits;
  }
  EXPECT_FALSE(is_subnet_id("sg-0a1b2c3d"));
  EXPECT_FALSE(is_security_group_id("subnet-0a1b2c3d"));
  EXPECT_FALSE(is_file_system_id("0a1b2c3d"));
}

TEST(Ids, of_a_role_are_its_arn_or_its_name) {
  for (const char* arn : {"arn:aws:iam::123456789012:role/job",
                          "arn:aws-us-gov:iam::123456789012:role/job",
                          "arn:aws:iam::123456789012:role/team/a.b/job+1@x"}) {
    EXPECT_TRUE(is_role_arn(arn)) << arn;
    EXPECT_FALSE(is_role_name(arn)) << arn;
  }
  for (const char* arn : {"",
                          "job",
                          "arn:aws",
                          "arn:aws:iam::12:role/job",
                          "arn:aws:iam::12345678901a:role/job",
                          "arn:aws:iam::123456789012:user/job",
                          "arn:aws:iam::123456789012:role/",
                          "arn:aws:iam::123456789012:role/team/",
                          "arn:aws:iam::123456789012:role/my job",
                          "arn:aws:s3:::iam::123456789012:role/job"}) {
    EXPECT_FALSE(is_role_arn(arn)) << arn;
  }
  EXPECT_FALSE(is_role_arn("arn:aws:iam::123456789012:role/" + std::string(65, 'a')));
  for (const char* name : {"job", "Atoll-Job_1", "a+=,.@-"}) EXPECT_TRUE(is_role_name(name));
  for (const char* name : {"", "my job", "team/job"}) EXPECT_FALSE(is_role_name(name)) << name;
}

TEST(Ids, of_training_jobs_are_the_services_pattern) {
  for (const char* name : {"a", "A-1", "a--b", "0"}) EXPECT_TRUE(is_training_job_name(name));
  for (const char* name : {"", "-a", "a-", "a_b", "a.b", "a/b", "../x", "ä"}) {
    EXPECT_FALSE(is_training_job_name(name)) << name;
  }
  EXPECT_TRUE(is_training_job_name(std::string(63, 'a')));
  EXPECT_FALSE(is_training_job_name(std::string(64, 'a')));
}

}  // namespace
}  // namespace atl::aws

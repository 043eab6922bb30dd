#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "storage/s3/credentials_sources.h"
#include "storage/s3/fake_credentials_context.h"

namespace atl::storage {
namespace {

using testing::HasSubstr;

class ProfileCredentialsTest : public testing::Test, protected FakeCredentialsContext {
 protected:
  Result<FetchedCredentials> of(const std::string& profile) {
    return profile_credentials(context(), load_profiles(environment.variable()).value(), profile);
  }
  std::string key(const std::string& profile) {
    const auto fetched = of(profile);
    return fetched ? fetched->keys.access_key_id : fetched.error().to_string();
  }
  // STS that gives keys named after the keys and the role that asked: "BASE>r".
  void serve_roles() {
    http.answer([](const HttpRequest& request) -> Result<HttpResponse> {
      const std::string authorization(FakeHttp::header(request, "Authorization"));
      const size_t from = authorization.find("Credential=") + 11;
      const std::string caller = authorization.substr(from, authorization.find('/') - from);
      const std::string_view body = request.body.text();
      const size_t role = body.find("role%2F") + 7;
      return FakeHttp::response(
          200,
          sts_answer("AssumeRole",
                     caller + "-" + std::string(body.substr(role, body.find('&', role) - role))));
    });
  }
};

TEST_F(ProfileCredentialsTest, may_be_keys_which_are_looked_at_again) {
  environment.write(
      ".aws/credentials",
      "[lab]\naws_access_key_id = A\naws_secret_access_key = S\naws_session_token = T\n");
  const FetchedCredentials fetched = of("lab").value();
  EXPECT_EQ(fetched.keys.access_key_id, "A");
  EXPECT_EQ(fetched.keys.secret_access_key, "S");
  EXPECT_EQ(fetched.keys.session_token, "T");
  EXPECT_TRUE(fetched.look_again.has_value());
}

TEST_F(ProfileCredentialsTest, may_be_a_role_of_another_profile) {
  serve_roles();
  environment.write(".aws/config",
                    "[profile a]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = b\n"
                    "[profile b]\nrole_arn = arn:aws:iam::1:role/b\nsource_profile = c\n"
                    "[profile c]\naws_access_key_id = BASE\naws_secret_access_key = S\n");
  EXPECT_EQ(key("a"), "BASE-b-a");
  EXPECT_EQ(http.requests().size(), 2U);
}

TEST_F(ProfileCredentialsTest, may_be_a_role_asked_for_with_the_keys_beside_it) {
  serve_roles();
  environment.write(".aws/config",
                    "[profile a]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = a\n"
                    "aws_access_key_id = OWN\naws_secret_access_key = S\n");
  EXPECT_EQ(key("a"), "OWN-a");
}

TEST_F(ProfileCredentialsTest, send_what_the_role_wants) {
  http.answer(200, sts_answer("AssumeRole", "ROLE"));
  environment.write(".aws/config",
                    "[profile a]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = a\n"
                    "aws_access_key_id = OWN\naws_secret_access_key = S\n"
                    "external_id = ext\nrole_session_name = me\nduration_seconds = 900\n");
  EXPECT_EQ(key("a"), "ROLE");
  EXPECT_THAT(http.requests()[0].body.text(),
              HasSubstr("&RoleSessionName=me&DurationSeconds=900&ExternalId=ext"));
}

TEST_F(ProfileCredentialsTest, may_be_a_role_asked_for_with_keys_of_a_place) {
  serve_roles();
  const std::string role = "[profile a]\nrole_arn = arn:aws:iam::1:role/a\ncredential_source = ";
  environment.write(".aws/config", role + "Environment\n");
  environment.set("AWS_ACCESS_KEY_ID", "ENV");
  environment.set("AWS_SECRET_ACCESS_KEY", "S");
  EXPECT_EQ(key("a"), "ENV-a");
  environment.write(".aws/config", role + "Ec2InstanceMetadata\n");
  environment.set("AWS_EC2_METADATA_DISABLED", "true");
  EXPECT_THAT(key("a"), HasSubstr("no EC2 instance metadata service answers"));
  environment.write(".aws/config", role + "Elsewhere\n");
  EXPECT_THAT(key("a"), HasSubstr("credential_source is none of"));
}

TEST_F(ProfileCredentialsTest, may_be_a_web_identity) {
  http.answer(200, sts_answer("AssumeRoleWithWebIdentity", "WEB"));
  const std::string token = environment.write("token", "t");
  environment.write(
      ".aws/config",
      "[profile a]\nrole_arn = arn:aws:iam::1:role/a\nweb_identity_token_file = " + token + "\n");
  EXPECT_EQ(key("a"), "WEB");
  environment.write(".aws/config", "[profile a]\nweb_identity_token_file = x\n");
  EXPECT_THAT(key("a"), HasSubstr("without role_arn"));
}

TEST_F(ProfileCredentialsTest, may_be_a_program) {
  environment.write(
      ".aws/config",
      "[profile a]\n"
      R"(credential_process = echo '{"Version":1,"AccessKeyId":"P","SecretAccessKey":"S"}')"
      "\n");
  EXPECT_EQ(key("a"), "P");
}

TEST_F(ProfileCredentialsTest, that_cannot_work_are_refused_with_the_reason) {
  environment.write(".aws/config",
                    "[profile round]\nrole_arn = r\nsource_profile = trip\n"
                    "[profile trip]\nrole_arn = r\nsource_profile = round\n"
                    "[profile self]\nrole_arn = r\nsource_profile = self\n"
                    "[profile lost]\nrole_arn = r\nsource_profile = nowhere\n"
                    "[profile both]\nrole_arn = r\nsource_profile = a\ncredential_source = b\n"
                    "[profile neither]\nrole_arn = r\n"
                    "[profile mfa]\nrole_arn = r\nsource_profile = half\nmfa_serial = m\n"
                    "[profile half]\naws_access_key_id = A\n"
                    "[profile sso]\nsso_session = s\n"
                    "[profile empty]\nregion = x\n");
  EXPECT_THAT(key("round"), HasSubstr("leads back to itself"));
  EXPECT_THAT(key("self"), HasSubstr("it names no credentials"));
  EXPECT_THAT(key("lost"), HasSubstr("there is no source_profile 'nowhere'"));
  EXPECT_THAT(key("both"), HasSubstr("either source_profile or credential_source"));
  EXPECT_THAT(key("neither"), HasSubstr("either source_profile or credential_source"));
  EXPECT_EQ(of("mfa").error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(key("half"), HasSubstr("there is no secret access key"));
  EXPECT_EQ(of("sso").error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(key("sso"), HasSubstr("export-credentials --profile sso"));
  EXPECT_THAT(key("empty"), HasSubstr("it names no credentials"));
  EXPECT_TRUE(http.requests().empty());
}

}  // namespace
}  // namespace atl::storage

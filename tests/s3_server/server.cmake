# A real S3 server for the tests that want one: started once for a run of ctest, stopped at its end.
#
#   atoll_server_test(NAME COMMAND...)
#
# The test gets the label `server` and, in ATOLL_S3_SERVER, the name of the file that says where the server is
# (start.sh's server.json). Where there is no server to be had, starting it is skipped and that file is not there:
# the test must then say so and skip, too, by exit code 77 or as gtest does.

set(ATOLL_S3_SERVER_FOLDER ${CMAKE_BINARY_DIR}/s3_server)

add_test(NAME s3_server_starts COMMAND ${CMAKE_CURRENT_LIST_DIR}/start.sh ${ATOLL_S3_SERVER_FOLDER})
set_tests_properties(s3_server_starts PROPERTIES FIXTURES_SETUP s3_server LABELS server TIMEOUT 600
                                                 SKIP_RETURN_CODE 77)
add_test(NAME s3_server_stops COMMAND ${CMAKE_CURRENT_LIST_DIR}/stop.sh ${ATOLL_S3_SERVER_FOLDER})
set_tests_properties(s3_server_stops PROPERTIES FIXTURES_CLEANUP s3_server LABELS server TIMEOUT 60)

function(atoll_server_test name)
  add_test(NAME ${name} COMMAND ${ARGN})
  set_tests_properties(${name} PROPERTIES
    FIXTURES_REQUIRED s3_server LABELS server TIMEOUT 300 SKIP_RETURN_CODE 77
    ENVIRONMENT ATOLL_S3_SERVER=${ATOLL_S3_SERVER_FOLDER}/server.json)
endfunction()

# The same with moto, which plays STS, SQS, SageMaker and CloudWatch: ATOLL_MOTO names start_moto.sh's moto.json. Both may be asked for:
# atoll_moto_test(NAME COMMAND...) has the S3 server as well.
add_test(NAME moto_starts COMMAND ${CMAKE_CURRENT_LIST_DIR}/start_moto.sh ${ATOLL_S3_SERVER_FOLDER})
set_tests_properties(moto_starts PROPERTIES FIXTURES_SETUP moto LABELS server TIMEOUT 300 SKIP_RETURN_CODE 77)
add_test(NAME moto_stops COMMAND ${CMAKE_CURRENT_LIST_DIR}/stop_moto.sh ${ATOLL_S3_SERVER_FOLDER})
set_tests_properties(moto_stops PROPERTIES FIXTURES_CLEANUP moto LABELS server TIMEOUT 60)

function(atoll_moto_test name)
  atoll_server_test(${name} ${ARGN})
  set_tests_properties(${name} PROPERTIES
    FIXTURES_REQUIRED "s3_server;moto"
    ENVIRONMENT "ATOLL_S3_SERVER=${ATOLL_S3_SERVER_FOLDER}/server.json;ATOLL_MOTO=${ATOLL_S3_SERVER_FOLDER}/moto.json")
endfunction()

atoll_test_program(s3_remote_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/s3_remote_test.cpp LIBRARIES atoll_storage)
atoll_server_test(s3_remote s3_remote_test)

atoll_test_program(bucket_store_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/cached_store_test.cpp LIBRARIES atoll_storage)
atoll_server_test(bucket_store bucket_store_test)

# The commands on a bucket, as a person runs them.
if(TARGET atoll-engine)
  atoll_server_test(bucket_commands ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/commands_test.py $<TARGET_FILE:atoll>)
  atoll_server_test(bucket_jobs ${Python3_EXECUTABLE} ${CMAKE_CURRENT_LIST_DIR}/bucket_jobs_test.py $<TARGET_FILE:atoll>)
endif()

atoll_test_program(presigned_url_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/presigned_url_test.cpp LIBRARIES atoll_storage)
atoll_server_test(presigned_url presigned_url_test)

atoll_test_program(sts_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/sts_test.cpp LIBRARIES atoll_storage)
atoll_moto_test(sts sts_test)

atoll_test_program(sqs_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/sqs_test.cpp LIBRARIES atoll_storage)
atoll_moto_test(sqs sqs_test)

atoll_test_program(training_job_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/training_job_test.cpp LIBRARIES atoll_sagemaker)
atoll_moto_test(training_job training_job_test)

# The same by the program's commands.
if(TARGET atoll)
  atoll_test_program(job_commands_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/job_commands_test.cpp LIBRARIES atoll_sagemaker)
  target_compile_definitions(job_commands_test PRIVATE ATOLL_BINARY_DIR="${CMAKE_BINARY_DIR}")
  add_dependencies(job_commands_test atoll)
  atoll_moto_test(job_commands job_commands_test)
endif()

atoll_test_program(doctor_bucket_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/doctor_bucket_test.cpp LIBRARIES atoll_doctor)
atoll_server_test(doctor_bucket doctor_bucket_test)

atoll_test_program(doctor_job_test SOURCES ${CMAKE_CURRENT_LIST_DIR}/doctor_job_test.cpp LIBRARIES atoll_doctor)
atoll_moto_test(doctor_job doctor_job_test)

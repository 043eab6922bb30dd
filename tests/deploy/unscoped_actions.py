# Actions that deploy/cloudformation allows on "*", because their services know no narrower resource. checkov_test.py asks
# IAM's list whether that is so.
UNSCOPED_ACTIONS = {
    "cloudwatch:PutMetricData",  # narrowed to a namespace instead
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
    "ecr:GetAuthorizationToken",
    "fsx:DescribeDataRepositoryAssociations",
    "fsx:DescribeFileSystems",
    "sagemaker:ListTrainingJobs",
    "sts:GetCallerIdentity",
}

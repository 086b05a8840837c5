package groupgate

default answer := {"ActionStatus": "FAIL", "ErrorInfo": "not authenticated", "ErrorCode": 1}

answer := {"ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0} if {
	authentic
	listed
}

answer := {"ActionStatus": "OK", "ErrorInfo": "Members only", "ErrorCode": 10110} if {
	authentic
	not listed
}

authentic if {
	input.SdkAppid == data.sdkAppID
	abs((time.now_ns() / 1000000000) - to_number(input.RequestTime)) <= 60
	crypto.sha256(concat("", [data.token, input.RequestTime])) == input.Sign
}

listed if data.members[input.GroupId][input.Requestor_Account]

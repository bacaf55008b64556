package cloud

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/starback/starback/broker"
)

// faultOf says which of broker's faults an AWS error code is.
var faultOf = map[string]broker.FaultCode{
	"AccessDenied":                broker.FaultAccess,
	"AccessDeniedException":       broker.FaultAccess,
	"ExpiredToken":                broker.FaultBase,
	"ExpiredTokenException":       broker.FaultBase,
	"InvalidClientTokenId":        broker.FaultBase,
	"UnrecognizedClientException": broker.FaultBase,
	"SignatureDoesNotMatch":       broker.FaultBase,
	"MissingAuthenticationToken":  broker.FaultBase,
	"RegionDisabledException":     broker.FaultRegion,
	"PackedPolicyTooLarge":        broker.FaultPackedPolicy,
	"MalformedPolicyDocument":     broker.FaultSessionPolicy,
}

// fault turns an error of the SDK's into broker's terms.
func fault(err error) *broker.Fault {
	return &broker.Fault{Code: faultCode(err), Err: err}
}

func faultCode(err error) broker.FaultCode {
	var base baseError
	if errors.As(err, &base) && !passing(err) {
		return broker.FaultBase
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			return broker.FaultTimeout
		}
		return broker.FaultAWS
	}
	code := api.ErrorCode()
	if known, ok := faultOf[code]; ok {
		return known
	}
	if _, throttled := retry.DefaultThrottleErrorCodes[code]; throttled {
		return broker.FaultThrottled
	}
	if code == "ValidationError" && strings.Contains(api.ErrorMessage(), "DurationSeconds") {
		return broker.FaultDuration
	}
	return broker.FaultAWS
}

// passing says whether a failure is of the way to AWS, or of AWS's for the
// moment, and not of what was asked for.
func passing(err error) bool {
	var api smithy.APIError
	if errors.As(err, &api) {
		_, throttled := retry.DefaultThrottleErrorCodes[api.ErrorCode()]
		return throttled || api.ErrorFault() == smithy.FaultServer
	}
	var unread *smithy.DeserializationError
	var unsent *smithyhttp.RequestSendError
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.As(err, &unread) || errors.As(err, &unsent)
}

// staleBase says whether AWS does not know the base credentials any more, as
// when their key was rotated.
func staleBase(err error) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode() {
	case "InvalidClientTokenId", "ExpiredToken", "ExpiredTokenException":
		return true
	}
	return false
}

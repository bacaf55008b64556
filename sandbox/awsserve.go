package sandbox

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// awsMaxBody bounds the bodies read, in bytes. The largest legal call, an
// AssumeRole with 50 tags, is a quarter of it.
const awsMaxBody = 1 << 20

const awsGarbage = "<html><body>The network you are on asks you to accept its terms.</body></html>\n"

// awsRequest is a call on its way through the sandbox.
type awsRequest struct {
	http *http.Request
	body []byte
	form url.Values // the body for STS and IAM, the query for sign-in, nil for SSM
	now  time.Time
	id   string
	call Call
}

// awsAnswer is an answer ready to be sent.
type awsAnswer struct {
	status      int
	contentType string
	body        []byte
}

// awsError is a refusal in AWS's words.
type awsError struct {
	status  int
	code    string
	message string
}

// ServeHTTP answers the calls of STS, IAM and SSM (POST /) and of console sign-in
// (GET /federation). Anything else is not found, and is not recorded.
func (a *AWS) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, awsMaxBody))
	if err != nil {
		http.Error(w, "The body cannot be read, or is too long.", http.StatusBadRequest)
		return
	}
	req := a.newRequest(r, body)
	w.Header().Set("Date", req.now.UTC().Format(http.TimeFormat))
	if req.call.Service == "" {
		http.NotFound(w, r)
		return
	}

	fault := a.faultOf(req.call.Service, req.call.Action)
	answer, err := a.answer(req, fault)
	if err != nil {
		req.call.ErrorCode = "Canceled"
	} else if code := fault.errorCode(); code != "" {
		req.call.ErrorCode = code
	}
	a.record(req.call)
	if err != nil || fault.Drop {
		panic(http.ErrAbortHandler) // closes the connection, and logs nothing
	}
	w.Header().Set("Content-Type", answer.contentType)
	w.Header().Set("X-Amzn-Requestid", req.id)
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body) // the caller may be gone, and that is its affair
}

// newRequest reads what the call is: which service and action, by whom, for
// what. The service stays empty if the request is for none of them.
func (a *AWS) newRequest(r *http.Request, body []byte) *awsRequest {
	a.mu.Lock()
	a.requests++
	n := a.requests
	a.mu.Unlock()

	now := a.now()
	req := &awsRequest{http: r, body: body, now: now, id: fmt.Sprintf("sandbox-%06d", n), call: Call{Time: now}}
	if s, ok := sigv4Parse(r.Header.Get("Authorization")); ok {
		req.call.AccessKeyID = s.accessKeyID
	}
	switch {
	case r.URL.Path == "/federation" && r.Method == http.MethodGet:
		req.form = r.URL.Query()
		req.call.Service, req.call.Action = "signin", req.form.Get("Action")
		if s, err := signinReadSession(req.form); err == nil && sigv4AccessKeyID.MatchString(s.ID) {
			req.call.AccessKeyID = s.ID
		}
	case r.URL.Path != "/" || r.Method != http.MethodPost:
	case r.Header.Get("X-Amz-Target") != "":
		action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSSM.")
		req.call.Service, req.call.Action = "ssm", action
	default:
		form, err := url.ParseQuery(string(body))
		if err != nil {
			break
		}
		req.form = form
		req.call.Service, req.call.Action = "sts", form.Get("Action")
		if form.Get("Version") == iamAPI {
			req.call.Service = "iam"
		} else if req.call.Action == "AssumeRole" {
			stsReadAssumeRole(form).describe(&req.call)
		}
	}
	return req
}

// answer does the work and what the fault makes of it. The error says that the
// caller left while the fault delayed the call.
func (a *AWS) answer(req *awsRequest, fault Fault) (awsAnswer, error) {
	var answer awsAnswer
	if fault.After {
		answer = a.work(req)
	}
	if err := fault.wait(req.http.Context()); err != nil {
		return awsAnswer{}, err
	}
	switch code := fault.errorCode(); {
	case fault.Garbage:
		return awsAnswer{http.StatusOK, "text/html; charset=utf-8", []byte(awsGarbage)}, nil
	case code != "":
		status := fault.Status
		if status == 0 {
			status = http.StatusInternalServerError
		}
		return req.refuse(&awsError{status, code, fault.Message}), nil
	case fault.After:
		return answer, nil
	default:
		return a.work(req), nil
	}
}

// work does what the call asks for.
func (a *AWS) work(req *awsRequest) awsAnswer {
	a.mu.Lock()
	defer a.mu.Unlock()
	var answer awsAnswer
	var refusal *awsError
	switch req.call.Service {
	case "sts":
		answer, refusal = a.sts(req)
	case "iam":
		answer, refusal = a.iam(req)
	case "ssm":
		answer, refusal = a.ssm(req)
	case "signin":
		answer, refusal = a.signin(req)
	}
	if refusal != nil {
		req.call.ErrorCode = refusal.code
		return req.refuse(refusal)
	}
	return answer
}

// refuse renders a refusal as the called service does.
func (req *awsRequest) refuse(e *awsError) awsAnswer {
	switch req.call.Service {
	case "sts", "iam":
		blame := "Sender"
		if e.status >= http.StatusInternalServerError {
			blame = "Receiver"
		}
		refusal := stsErrorResponse{Type: blame, Code: e.code, Message: e.message, RequestID: req.id}
		if req.call.Service == "iam" {
			return awsXML(e.status, iamErrorResponse(refusal))
		}
		return awsXML(e.status, refusal)
	case "ssm":
		return awsJSON(e.status, ssmContentType, map[string]string{"__type": e.code, "message": e.message})
	default:
		return awsPage(e.status, awsErrorPage, e.message)
	}
}

func awsXML(status int, v any) awsAnswer {
	b, err := xml.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("sandbox: rendering %T: %v", v, err))
	}
	return awsAnswer{status, "text/xml", b}
}

func awsJSON(status int, contentType string, v any) awsAnswer {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("sandbox: rendering %T: %v", v, err))
	}
	return awsAnswer{status, contentType, b}
}

func awsPage(status int, page *template.Template, data any) awsAnswer {
	var b bytes.Buffer
	if err := page.Execute(&b, data); err != nil {
		panic(fmt.Sprintf("sandbox: rendering a page: %v", err))
	}
	return awsAnswer{status, "text/html; charset=utf-8", b.Bytes()}
}

//! The operators that the interpreter has. The loader looks nodes up here, and the table in the
//! documentation of [`super`] is generated from the same list (a test compares them).

use super::node::{Built, Checked, Node};
use super::{
    activations, arithmetic, cast, encoders, layers, layout, linear, math, order, reduce, scalers, scan, shape, svm,
    trees,
};

/// One operator of one domain.
pub(super) struct Supported {
    /// `ai.onnx` or `ai.onnx.ml`.
    pub(super) domain: &'static str,
    pub(super) operator: &'static str,
    /// First and last version of the domain's operator set.
    pub(super) opsets: (i64, i64),
    /// Every attribute that is understood; others are refused.
    pub(super) attributes: &'static [&'static str],
    pub(super) build: fn(&Node<'_>) -> Checked<Built>,
}

/// The newest operator sets whose definitions were read.
const LAST: i64 = 25;
const LAST_ML: i64 = 5;

const fn core(
    operator: &'static str,
    since: i64,
    attributes: &'static [&'static str],
    build: fn(&Node<'_>) -> Checked<Built>,
) -> Supported {
    Supported { domain: "ai.onnx", operator, opsets: (since, LAST), attributes, build }
}

const fn ml(
    operator: &'static str,
    since: i64,
    attributes: &'static [&'static str],
    build: fn(&Node<'_>) -> Checked<Built>,
) -> Supported {
    Supported { domain: "ai.onnx.ml", operator, opsets: (since, LAST_ML), attributes, build }
}

const REDUCE: &[&str] = &["axes", "keepdims", "noop_with_empty_axes"];

pub(super) const SUPPORTED: &[Supported] = &[
    ml("ArrayFeatureExtractor", 1, &[], shape::array_feature_extractor),
    ml("Binarizer", 1, &["threshold"], scalers::binarizer),
    ml("FeatureVectorizer", 1, &["inputdimensions"], shape::feature_vectorizer),
    ml(
        "Imputer",
        1,
        &["imputed_value_floats", "imputed_value_int64s", "replaced_value_float", "replaced_value_int64"],
        scalers::imputer,
    ),
    ml("LabelEncoder", 1, encoders::LABEL_ENCODER_ATTRIBUTES, encoders::label_encoder),
    ml(
        "LinearClassifier",
        1,
        &["classlabels_ints", "classlabels_strings", "coefficients", "intercepts", "multi_class", "post_transform"],
        linear::classifier,
    ),
    ml("LinearRegressor", 1, &["coefficients", "intercepts", "post_transform", "targets"], linear::regressor),
    ml("Normalizer", 1, &["norm"], scalers::normalizer),
    ml("OneHotEncoder", 1, &["cats_int64s", "cats_strings", "zeros"], encoders::one_hot),
    ml("Scaler", 1, &["offset", "scale"], scalers::scaler),
    ml(
        "SVMClassifier",
        1,
        &[
            "classlabels_ints",
            "classlabels_strings",
            "coefficients",
            "kernel_params",
            "kernel_type",
            "post_transform",
            "prob_a",
            "prob_b",
            "rho",
            "support_vectors",
            "vectors_per_class",
        ],
        svm::classifier,
    ),
    ml(
        "SVMRegressor",
        1,
        &[
            "coefficients",
            "kernel_params",
            "kernel_type",
            "n_supports",
            "one_class",
            "post_transform",
            "rho",
            "support_vectors",
        ],
        svm::regressor,
    ),
    ml("TreeEnsemble", 5, trees::ENSEMBLE_ATTRIBUTES, trees::ensemble),
    ml("TreeEnsembleClassifier", 1, trees::CLASSIFIER_ATTRIBUTES, trees::classifier),
    ml("TreeEnsembleRegressor", 1, trees::REGRESSOR_ATTRIBUTES, trees::regressor),
    ml("ZipMap", 1, &["classlabels_int64s", "classlabels_strings"], encoders::zip_map),
    core("Abs", 6, &[], math::unary),
    core("Add", 7, &[], arithmetic::arithmetic),
    core("And", 7, &[], arithmetic::logic),
    core("ArgMax", 1, &["axis", "keepdims", "select_last_index"], reduce::arg_max),
    core("ArgMin", 1, &["axis", "keepdims", "select_last_index"], reduce::arg_max),
    core("BatchNormalization", 9, &["epsilon", "momentum", "training_mode"], layers::batch_normalization),
    core("Cast", 6, &["saturate", "to"], cast::cast),
    core("Ceil", 6, &[], math::unary),
    core("Celu", 12, &["alpha"], activations::activation),
    core("Clip", 6, &["max", "min"], math::clip),
    core("Concat", 4, &["axis"], shape::concat),
    core("ConstantOfShape", 9, &["value"], layout::constant_of_shape),
    core("CumSum", 11, &["exclusive", "reverse"], order::cum_sum),
    core("Div", 7, &[], arithmetic::arithmetic),
    core("Dropout", 7, &["ratio", "seed"], layers::dropout),
    core("Elu", 6, &["alpha"], activations::activation),
    core("Equal", 7, &[], arithmetic::compare),
    core("Erf", 9, &[], math::unary),
    core("Exp", 6, &[], math::unary),
    core("Expand", 8, &[], layout::expand),
    core("Flatten", 1, &["axis"], shape::flatten),
    core("Floor", 6, &[], math::unary),
    core("Gather", 1, &["axis"], shape::gather),
    core("GatherElements", 11, &["axis"], order::gather_elements),
    core("Gemm", 7, &["alpha", "beta", "transA", "transB"], layers::gemm),
    core("Greater", 7, &[], arithmetic::compare),
    core("GreaterOrEqual", 12, &[], arithmetic::compare),
    core("HardSigmoid", 6, &["alpha", "beta"], activations::activation),
    core("HardSwish", 14, &[], activations::activation),
    core("Identity", 1, &[], shape::identity),
    core("IsNaN", 9, &[], activations::is_nan),
    core("LeakyRelu", 6, &["alpha"], activations::activation),
    core("Less", 7, &[], arithmetic::compare),
    core("LessOrEqual", 12, &[], arithmetic::compare),
    core("Log", 6, &[], math::unary),
    core("LogSoftmax", 1, &["axis"], reduce::softmax),
    core("MatMul", 1, &[], layers::mat_mul),
    core("Max", 8, &[], arithmetic::fold),
    core("Min", 8, &[], arithmetic::fold),
    core("Mul", 7, &[], arithmetic::arithmetic),
    core("Neg", 6, &[], math::unary),
    core("Not", 1, &[], math::not),
    core("Or", 7, &[], arithmetic::logic),
    core("Pow", 7, &[], arithmetic::arithmetic),
    core("Reciprocal", 6, &[], math::unary),
    core("ReduceL1", 1, REDUCE, reduce::reduce),
    core("ReduceL2", 1, REDUCE, reduce::reduce),
    core("ReduceLogSumExp", 1, REDUCE, reduce::reduce),
    core("ReduceMax", 1, REDUCE, reduce::reduce),
    core("ReduceMean", 1, REDUCE, reduce::reduce),
    core("ReduceMin", 1, REDUCE, reduce::reduce),
    core("ReduceProd", 1, REDUCE, reduce::reduce),
    core("ReduceSum", 1, REDUCE, reduce::reduce),
    core("ReduceSumSquare", 1, REDUCE, reduce::reduce),
    core("Relu", 6, &[], math::unary),
    core("Reshape", 5, &["allowzero"], shape::reshape),
    core("Round", 11, &[], math::unary),
    core(
        "Scan",
        9,
        &[
            "body",
            "num_scan_inputs",
            "scan_input_axes",
            "scan_input_directions",
            "scan_output_axes",
            "scan_output_directions",
        ],
        scan::scan,
    ),
    core("Selu", 6, &["alpha", "gamma"], activations::activation),
    core("Shape", 1, &["end", "start"], layout::shape),
    core("Sigmoid", 6, &[], math::unary),
    core("Sign", 9, &[], math::unary),
    core("Slice", 1, &["axes", "ends", "starts"], layout::slice),
    core("Softmax", 1, &["axis"], reduce::softmax),
    core("Softplus", 1, &[], math::unary),
    core("Softsign", 1, &[], math::unary),
    core("Sqrt", 6, &[], math::unary),
    core("Squeeze", 1, &["axes"], layout::axes),
    core("Sub", 7, &[], arithmetic::arithmetic),
    core("Sum", 8, &[], arithmetic::fold),
    core("Tanh", 6, &[], math::unary),
    core("ThresholdedRelu", 10, &["alpha"], activations::activation),
    core("TopK", 10, &["axis", "largest", "sorted"], order::top_k),
    core("Transpose", 1, &["perm"], layout::transpose),
    core("Unsqueeze", 1, &["axes"], layout::axes),
    core("Where", 9, &[], arithmetic::select),
    // Of ONNX Runtime's own: what skl2onnx writes for nearest neighbours with the option "cdist".
    Supported {
        domain: "com.microsoft",
        operator: "CDist",
        opsets: (1, 1),
        attributes: &["metric"],
        build: order::distances,
    },
];

/// The operator of `domain` at the imported version, if the interpreter has it.
pub(super) fn find(domain: &str, operator: &str, opset: i64) -> Option<&'static Supported> {
    SUPPORTED.iter().find(|supported| {
        supported.domain == domain
            && supported.operator == operator
            && (supported.opsets.0..=supported.opsets.1).contains(&opset)
    })
}
